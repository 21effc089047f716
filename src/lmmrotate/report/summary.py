"""What every report says about an evaluation, in words: terminal and HTML share it."""

from __future__ import annotations

from lmmrotate.evaluation.bootstrap import Draws
from lmmrotate.evaluation.details import COCO_IOUS
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.text import count, fraction, printable


def headline_numbers(evaluation: Evaluation) -> list[tuple[str, float, str]]:
    """The four means as (name, value, what it is)."""
    # The published protocol's F1 is no mean of the classes' F1.
    f1 = "as the protocol defines it" if evaluation.protocol == "lmmrotate" else "mean F1 of the classes"
    return [
        ("mAP", evaluation.map_11, "11-point, ranked by score"),
        ("mAP_area", evaluation.map_area, "area under the curve"),
        ("mAP_nc", evaluation.map_nc, "all scores set to 1"),
        ("mF1", evaluation.mf1, f1),
    ]


def setting_parts(evaluation: Evaluation) -> list[str]:
    """Under what rules the numbers were taken: protocol, thresholds, size of the data."""
    parts = [f"protocol {printable(evaluation.protocol)}", f"IoU {evaluation.iou_threshold:g}"]
    if evaluation.score_threshold > 0:
        parts.append(f"precision, recall and F1 at score >= {evaluation.score_threshold:g}")
    parts.append(count(evaluation.images, "image"))
    if evaluation.seconds_per_image > 0:
        parts.append(f"{evaluation.seconds_per_image:.3g} s an image")
    return parts


def detail_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What ``Evaluation.details`` says, as (name, value); empty without them."""
    details = evaluation.details
    if details is None:
        return []
    sweep, even, mistakes = details.sweep, details.even_scores, details.mistakes
    rows = [("95 % interval", _intervals(details.draws))] if details.draws else []
    rows += [
        (f"mAP at IoU {at.iou_threshold:g}", fraction(at.map_11, 4))
        for at in details.by_iou
        if at.iou_threshold == 0.75 or at.iou_threshold not in COCO_IOUS
    ]
    rows.append(("mAP at IoU 0.5 to 0.95 (area)", fraction(details.map_50_95, 4)))
    for name, (value, threshold) in (("mF1", sweep.best_mf1()), ("mAP_nc", sweep.best_map_nc())):
        rows.append((f"best {name}", f"{fraction(value, 4)} at score >= {fraction(threshold, 2)}"))
    spread = f"{fraction(even.mean, 4)} ± {fraction(even.spread, 4)}"
    rows.append((f"mAP_nc in {even.orders} random orders", spread))
    rows.append(
        (
            "recall with few boxes an image",
            ", ".join(f"{k}: {fraction(value)}" for k, value in details.recall_by_boxes.items()),
        )
    )
    for name, parts in (("size", details.sizes), ("objects an image", details.densities)):
        shown = [f"{p.name}: {fraction(p.map_11)} ({p.objects:,})" for p in parts if p.objects]
        rows.append((f"mAP by {name} (objects)", ", ".join(shown) or "-"))
    kinds = [f"{kind} {number:,}" for kind, number in mistakes.kinds.items() if number]
    rows.append(("false detections", ", ".join(kinds) or "none"))
    rows.append(("missed objects", f"{mistakes.missed:,}"))
    rows.append(("calibration error (ECE)", fraction(details.calibration.ece)))
    return rows


def _intervals(draws: Draws) -> str:
    return ", ".join(
        "{} {} to {}".format(
            name.replace("best_", "best "), *(fraction(value, 4) for value in draws.interval(name))
        )
        for name in draws.metrics
    )


def trouble_rows(evaluation: Evaluation) -> list[tuple[str, int]]:
    """What went wrong with the answers and how often, most frequent kind first; empty if nothing did."""
    kinds = sorted(evaluation.problems.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        *((f"unread output: {printable(kind, 60)}", number) for kind, number in kinds),
        ("answers cut at the token limit", evaluation.truncated),
        ("images without a prediction (scored as empty)", evaluation.missing_images),
    ]
    return [(name, number) for name, number in rows if number]
