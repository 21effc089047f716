"""How long mAP and the published F1 take, beside shapely (same run) and the published code (recorded).

Run ``python bench/evaluate.py``. Inputs and recorded timings are those of reference-timings.md ("quiet
machine"), taken in another run on a machine of the same type; recorded results are in
bench_eval_results.json. Without that folder ($LMMROTATE_GOLDEN, or ../shared/golden) random boxes of the
same shape are timed and nothing is compared with recorded results.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rich.console import Console
from rich.table import Table

from geometry import against, measure, versions
from lmmrotate.evaluation.average_precision import ap_11, curves_of
from lmmrotate.evaluation.f1 import PublishedF1, published_f1
from lmmrotate.evaluation.matching import (
    Detections,
    Outcome,
    Ranking,
    Truths,
    best_truths,
    excusing,
    judge,
    overlaps,
    ranked,
)
from lmmrotate.geometry.rboxes import rboxes_to_quads

REPEATS = 5
IOU = 0.5
CLASSES = 15
RECORDED = (  # "mAP" or "F1", what, seconds
    ("mAP", "mmrotate eval_rbbox_map, nproc=1, pool start included", 7.34),
    ("mAP", "mmrotate eval_rbbox_map, in one process, no pool", 3.79),
    ("mAP", "DOTA_devkit voc_eval, text files", 26.6),
    ("F1", "published f1_metric", 115.7),
)
MISJUDGED = 103127, 61919
"""Rows of a detection and an object of the recorded inputs, almost parallel, of IoU 0.868. mmcv's algorithm
in float32, written again in Python, gives 0.297, so that the published code does not match them."""

Boxes = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """Rotated boxes as the published code gets them: (images, boxes per image, 5)."""

    true: Boxes
    true_label: Ints
    found: Boxes
    found_label: Ints
    score: Floats

    def tables(self) -> tuple[Detections, Truths]:
        images, objects, count = len(self.true), self.true.shape[1], self.found.shape[1]
        return Detections(
            np.repeat(np.arange(images), count),
            self.found_label.ravel(),
            rboxes_to_quads(self.found.reshape(-1, 5)),
            self.score.ravel(),
        ), Truths(
            np.repeat(np.arange(images), objects),
            self.true_label.ravel(),
            rboxes_to_quads(self.true.reshape(-1, 5)),
            np.zeros(images * objects, dtype=bool),
        )


def recorded_inputs(path: Path) -> Inputs:
    with np.load(path) as data:
        return Inputs(
            data["gt_box"],
            data["gt_label"].astype(np.int64),
            data["det_box"],
            data["det_label"].astype(np.int64),
            data["det_score"].astype(np.float64),
        )


def random_inputs(images: int = 2000, objects: int = 60, count: int = 100) -> Inputs:
    """Up to one detection near each object, most of them of its class, and the rest anywhere."""
    random = np.random.default_rng(0)

    def boxes(number: int) -> Boxes:
        columns = [(0, 1024), (0, 1024), (8, 80), (8, 80), (0, np.pi / 2)]
        return np.stack([random.uniform(*c, (images, number)) for c in columns], axis=2).astype(np.float32)

    true, label = boxes(objects), random.integers(0, CLASSES, (images, objects))
    near = true + random.normal(0, [2, 2, 2, 2, 0.03], true.shape).astype(np.float32)
    near[..., 2:4] = np.maximum(near[..., 2:4], 1)
    other = random.integers(0, CLASSES, (images, count))
    same = random.random(label.shape) < 0.9
    other[:, :objects] = np.where(same, label, other[:, :objects])
    found = np.concatenate([near, boxes(count - objects)], axis=1)
    return Inputs(true, label, found, other, random.random((images, count)))


def average_precisions(ranking: Ranking, truths: Truths, outcome: Outcome) -> Floats:
    """11-point AP of every class, with the published rounding of its steps."""
    objects = np.bincount(truths.label, minlength=CLASSES)
    return np.array([ap_11(c, rounded_steps=True) for c in curves_of(outcome, ranking, objects)])


def our_outcome(detections: Detections, truths: Truths, ranking: Ranking) -> Outcome:
    pairs = overlaps(detections, truths, same_class=True, least_iou=IOU)
    excuse = excusing(truths, forget_lone_difficult=True)
    return judge(ranking, truths, best_truths(detections, truths, pairs), IOU, excuse)


def our_map(inputs: Inputs) -> float:
    detections, truths = inputs.tables()
    ranking = ranked(detections, CLASSES)
    return float(average_precisions(ranking, truths, our_outcome(detections, truths, ranking)).mean())


def our_f1(inputs: Inputs) -> float:
    return published(*inputs.tables()).f1


def published(detections: Detections, truths: Truths) -> PublishedF1:
    return published_f1(detections, truths, CLASSES, iou_threshold=IOU, score_threshold=0.0)


def shapely_ious(inputs: Inputs) -> Iterator[tuple[int, Ints, Ints, Floats]]:
    """Of every image: detections and objects that may overlap (STR tree), and their IoU."""
    corners = (rboxes_to_quads(boxes.reshape(-1, 5)) for boxes in (inputs.found, inputs.true))
    found, true = (shapely.polygons(quads).reshape(len(inputs.true), -1) for quads in corners)
    for image, (detections, objects) in enumerate(zip(found, true, strict=True)):
        d, t = shapely.STRtree(objects).query(detections)
        shared = shapely.area(shapely.intersection(detections[d], objects[t]))
        yield image, d, t, shared / (shapely.area(detections[d]) + shapely.area(objects[t]) - shared)


def shapely_map(inputs: Inputs) -> float:
    """The textbook loop over detections by falling score, on shapely's IoUs."""
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for image, found, true, ious in shapely_ious(inputs):
        same = inputs.found_label[image, found] == inputs.true_label[image, true]
        for d, t, iou in zip(*(a[same].tolist() for a in (found, true, ious)), strict=True):
            if iou > best.get((image, d), (0.0, -1))[0]:
                best[image, d] = iou, t
    aps = []
    for label in range(CLASSES):
        rows = np.argwhere(inputs.found_label == label)
        order = np.argsort(-inputs.score[rows[:, 0], rows[:, 1]], kind="stable")
        taken, right = set(), []
        for image, d in rows[order].tolist():
            iou, t = best.get((image, d), (0.0, -1))
            right.append(iou >= IOU and (image, t) not in taken)
            if right[-1]:
                taken.add((image, t))
        found = np.cumsum(right)
        recall, precision = found / (inputs.true_label == label).sum(), found / np.arange(1, len(found) + 1)
        aps.append(
            np.mean([precision[recall >= step].max(initial=0) for step in np.arange(0, 1 + 1e-3, 0.1)])
        )
    return float(np.mean(aps))


def shapely_f1(inputs: Inputs) -> float:
    confusion = np.zeros((CLASSES + 1, CLASSES + 1), dtype=np.int64)
    for image, d, t, iou in shapely_ious(inputs):
        d, t = d[iou >= IOU], t[iou >= IOU]
        found, true = inputs.found_label[image], inputs.true_label[image]
        np.add.at(confusion, (true[t], found[d]), 1)
        np.add.at(confusion[CLASSES], np.delete(found, d), 1)
        np.add.at(confusion[:, CLASSES], np.delete(true, t[true[t] == found[d]]), 1)
    right = np.diag(confusion)
    precision, recall = (np.mean(right / np.maximum(confusion.sum(axis=axis), 1)) for axis in (0, 1))
    return float(2 * precision * recall / (precision + recall))


def agreement(inputs: Inputs, recorded: dict[str, Any]) -> Iterator[str]:
    """How far the recorded results are from ours, and why."""
    confusion = np.array(recorded["f1_metric"]["confusion"])
    aps = np.array(recorded["eval_rbbox_map"]["ap50_11p"])
    detections, truths = inputs.tables()
    unequal = int((published(detections, truths).confusion != confusion).sum())
    yield f"Published F1: {unequal} of {confusion.size} cells of the confusion matrix differ, by one pair:"
    found, true = shapely.polygons(np.stack([detections.quads[MISJUDGED[0]], truths.quads[MISJUDGED[1]]]))
    iou = found.intersection(true).area / found.union(true).area
    yield (
        f"  detection {MISJUDGED[0]} and object {MISJUDGED[1]} have IoU {iou:.3f} (shapely), "
        "but 0.297 by mmcv's algorithm in float32 (redone in Python)."
    )
    detections.quads[MISJUDGED[0]] += 1e4  # now it finds nothing, as there
    unequal = int((published(detections, truths).confusion != confusion).sum())
    yield f"  With that detection moved away, {unequal} cells differ."
    outcome = our_outcome(detections, truths, ranked(detections, CLASSES))
    # Scores are multiples of 1/1024: this changes the order of equal ones alone.
    worst, stable, best = (
        average_precisions(
            ranked(detections.with_scores(detections.score + shift * outcome.true), CLASSES), truths, outcome
        )
        for shift in (-1e-6, 0, 1e-6)
    )
    yield (
        f"mAP (moved away): {stable.mean():.6f} in stable order of equal scores; recorded "
        f"{aps.mean():.6f}, in the order of numpy 1.26's unstable sort."
    )
    within = int(((worst - 1e-6 <= aps) & (aps <= best + 1e-6)).sum())
    yield (
        f"  Over all orders of equal scores it lies in [{worst.mean():.6f}, {best.mean():.6f}]; "
        f"{within} of {len(aps)} recorded APs lie in their class's range."
    )
    yield "  tests/evaluation/test_golden_map.py repeats numpy's order and is equal to 1e-6."


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("LMMROTATE_GOLDEN") or root.parent / "shared" / "golden") / "bench"
    source = folder / "bench_eval_inputs.npz"
    inputs = recorded_inputs(source) if source.exists() else random_inputs()
    results = json.loads((folder / "bench_eval_results.json").read_text()) if source.exists() else None
    expected = {
        "mAP": f"{results['eval_rbbox_map']['mAP50_11p']:.6f}" if results else "-",
        "F1": f"{results['f1_metric']['f1']:.6f}" if results else "-",
        "devkit": f"{np.mean(results['dota_devkit_voc_eval_iou05_11p']['ap']):.6f}" if results else "-",
    }
    table = Table(
        *("what", "lmmrotate", "shapely", "ratio", "published code (recorded)", "seconds", "ratio"),
        *("our result", "shapely's", "recorded"),
        title=f"{len(inputs.true):,} images, {inputs.found.shape[1]} detections and {inputs.true.shape[1]} "
        f"objects each, {CLASSES} classes, IoU {IOU}",
        caption=f"Seconds on one core, from rotated boxes on. lmmrotate: median of {REPEATS} calls after a "
        "first one that compiles (numba) or loads what an earlier run compiled. shapely: one call in this "
        "run, all images, STR tree per image. Published code: recorded in another run on a quiet machine of "
        "the same type (reference-timings.md). Ratio: theirs / ours.",
    )
    for column in table.columns:
        if column.header not in {"what", "published code (recorded)"}:
            column.justify = "right"
    works: dict[str, tuple[str, Callable[[], float], Callable[[], float]]] = {
        "mAP": ("mAP, 11 points", partial(our_map, inputs), partial(shapely_map, inputs)),
        "F1": ("published F1, one threshold", partial(our_f1, inputs), partial(shapely_f1, inputs)),
    }
    for kind, (name, work, other) in works.items():
        work()
        ours, result = measure(work, REPEATS)
        seconds, other_result = measure(other, 1)
        cells = [name, f"{ours:.3f}", *against(seconds, ours)]
        shown = [f"{result:.6f}", f"{other_result:.6f}"]
        for _, what, recorded in (row for row in RECORDED if row[0] == kind):
            value = expected["devkit" if "devkit" in what else kind]
            table.add_row(*cells, what, *against(recorded, ours), *shown, value)
            cells, shown = [""] * 4, [""] * 2
    console = Console(width=150)
    console.print(versions(), highlight=False)
    random = "random boxes of the same shape (recorded timings and results are of other boxes)"
    console.print(f"Inputs: {source if results else random}", highlight=False)
    console.print(table)
    if results:
        for line in agreement(inputs, results):
            console.print(line, highlight=False)


if __name__ == "__main__":
    main()
