"""What every report says about an evaluation, in words: terminal and HTML share it."""

from __future__ import annotations

from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.text import count, printable


def headline_numbers(evaluation: Evaluation) -> list[tuple[str, float, str]]:
    """The four means as (name, value, what it is)."""
    # The published protocol's F1 is no mean of the classes' F1.
    f1 = "mean F1 of the classes" if evaluation.protocol == "corrected" else "as the protocol defines it"
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


def trouble_rows(evaluation: Evaluation) -> list[tuple[str, int]]:
    """What went wrong with the answers and how often, most frequent kind first; empty if nothing did."""
    kinds = sorted(evaluation.problems.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        *((f"unread output: {printable(kind, 60)}", number) for kind, number in kinds),
        ("answers cut at the token limit", evaluation.truncated),
        ("images without a prediction (scored as empty)", evaluation.missing_images),
    ]
    return [(name, number) for name, number in rows if number]
