"""How long evaluation takes, beside the published code (recorded), shapely (same run), and a large data set.

Run ``python bench/evaluate.py`` (a minute), or with ``--large`` for 10,000,000 detections against 2,000,000
objects. Inputs and recorded timings are those of reference-timings.md ("quiet machine"), taken in another run
on a machine of the same type: the calibration line says how this one compares. Without that folder
($LMMROTATE_GOLDEN, or ../shared/golden) random boxes of the same shape are timed.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rich.console import Console
from rich.table import Table

from geometry import boxes_kept, matrix_sum, measure, random_quads, versions
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
from lmmrotate.evaluation.protocols import protocol_named
from lmmrotate.evaluation.scoring import score_tables
from lmmrotate.geometry.rboxes import rboxes_to_quads

REPEATS = 5
IOU = 0.5
CLASSES = 15
THRESHOLDS = tuple(tenth / 10 for tenth in range(10))
CALIBRATION_SECONDS = 9.0
"""shapely's intersection areas of 1,000 x 1,000 boxes in 100 px, on the machine of the recorded timings."""
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


def our_f1_sweep(inputs: Inputs) -> float:
    """The published F1 at ten score thresholds; returns the first."""
    detections, truths = inputs.tables()
    pairs = overlaps(detections, truths, least_iou=IOU)
    results = [
        published_f1(detections, truths, CLASSES, iou_threshold=IOU, score_threshold=t, pairs=pairs).f1
        for t in THRESHOLDS
    ]
    return results[0]


def our_voc_eval(inputs: Inputs) -> float:
    """mAP by the "dota" protocol."""
    detections, truths = inputs.tables()
    ranking, rules = ranked(detections, CLASSES), protocol_named("dota")
    pairs = overlaps(detections, truths, same_class=True, least_iou=IOU)
    best = best_truths(detections, truths, pairs, regular_first=rules.regular_first)
    outcome = judge(ranking, truths, best, rules.least_iou(IOU))
    return float(average_precisions(ranking, truths, outcome).mean())


def everything(inputs: Inputs) -> float:
    """All numbers of ``lmmrotate evaluate``, sweeps, shuffles and mistakes included; returns mAP."""
    detections, truths = inputs.tables()
    names = [str(k) for k in range(CLASSES)]
    return score_tables(detections, truths, names, images=len(inputs.true), details=True).map_11


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


def cpu_seconds(work: Callable[[], float]) -> tuple[float, float, float]:
    """CPU and wall seconds of the fastest of some calls, after one that compiles or loads; the result."""
    result = work()
    timed = []
    for _ in range(REPEATS):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        timed.append((time.process_time() - cpu, time.perf_counter() - wall))
    return (*min(timed), result)


def calibration() -> float:
    """Seconds that shapely takes for intersection areas of 1,000 x 1,000 random boxes in 100 px."""
    first, second = (shapely.polygons(random_quads(seed, 1000, 100)[0]) for seed in (1, 2))
    start = time.process_time()
    shapely.area(shapely.intersection(first[:, None], second[None]))
    return time.process_time() - start


def clipping_share(inputs: Inputs) -> float:
    """What part of mAP's CPU time goes into exact overlaps, which no bookkeeping can save."""
    detections, truths = inputs.tables()
    part, _, _ = cpu_seconds(
        lambda: float(len(overlaps(detections, truths, same_class=True, least_iou=IOU).iou))
    )
    return part / cpu_seconds(partial(our_map, inputs))[0]


def large(images: int = 100_000) -> str:
    """10,000,000 detections, 2,000,000 objects: seconds and memory of the headline numbers."""
    block = random_inputs(1000, 20, 100)
    detections, truths = block.tables()
    times = images // 1000

    def many(table: Any) -> Any:
        columns = {
            field.name: np.concatenate([getattr(table, field.name)] * times) for field in fields(table)
        }
        columns["image"] = columns["image"] + np.repeat(np.arange(times) * 1000, len(table.image))
        return replace(table, **columns)

    all_detections, all_truths = many(detections), many(truths)
    all_detections = all_detections.with_scores(np.random.default_rng(1).random(len(all_detections.score)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    names = [str(k) for k in range(CLASSES)]
    result = score_tables(all_detections, all_truths, names, images=images)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        f"{len(all_detections.score):,} detections, {len(all_truths.label):,} objects, {images:,} images: "
        f"mAP {result.map_11:.3f} in {seconds:.0f} s; memory at most {peak / 2**20:.1f} GiB, of which the "
        f"tables and their making took {before / 2**20:.1f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="only the large data set")
    console = Console(width=150)
    console.print(versions(), highlight=False)
    if parser.parse_args().large:
        console.print(large(), highlight=False)
        return
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("LMMROTATE_GOLDEN") or root.parent / "shared" / "golden") / "bench"
    source = folder / "bench_eval_inputs.npz"
    inputs = recorded_inputs(source) if source.exists() else random_inputs()
    results = json.loads((folder / "bench_eval_results.json").read_text()) if source.exists() else None
    random = "random boxes of the same shape (recorded timings and results are of other boxes)"
    console.print(f"Inputs: {source if results else random}", highlight=False)
    console.print(
        f"Calibration: {calibration():.1f} CPU s for what took {CALIBRATION_SECONDS} s on the machine of the "
        "recorded timings",
        highlight=False,
    )
    recorded = (
        results["eval_rbbox_map"]["mAP50_11p"] if results else None,
        results["f1_metric"]["f1"] if results else None,
        np.mean(results["dota_devkit_voc_eval_iou05_11p"]["ap"]) if results else None,
    )
    quads, scores = random_quads(4, 20_000, 4096)
    matrix = [random_quads(seed, 1000, 1024)[0] for seed in (1, 2)]
    rows: tuple[tuple[str, Callable[[], float], str, float, float | None, int], ...] = (
        ("mAP, 11 points", partial(our_map, inputs), "eval_rbbox_map, one process", 3.79, recorded[0], 30),
        ("F1, ten thresholds", partial(our_f1_sweep, inputs), "f1_metric", 1157.0, recorded[1], 500),
        ("mAP, protocol dota", partial(our_voc_eval, inputs), "voc_eval", 26.6, recorded[2], 50),
        ("NMS of 20,000 boxes", partial(boxes_kept, quads, scores), "mmcv nms_rotated", 68.8, 7685, 50),
        ("IoU 1,000 x 1,000", partial(matrix_sum, *matrix), "mmcv box_iou_rotated", 1.77, 840.618965, 60),
    )
    table = Table(
        *(
            "what",
            "CPU s",
            "wall s",
            "published code (recorded)",
            "CPU s",
            "ratio",
            "target",
            "ours",
            "theirs",
        ),
        title=f"{len(inputs.true):,} images, {inputs.found.shape[1]} detections and {inputs.true.shape[1]} "
        f"objects each, {CLASSES} classes, IoU {IOU}",
        caption=f"From rotated boxes on; the best of {REPEATS} calls after one that compiles or loads.",
    )
    for name, work, theirs, seconds, value, target in rows:
        cpu, wall, result = cpu_seconds(work)
        table.add_row(
            *(name, f"{cpu:.3f}", f"{wall:.3f}", theirs, f"{seconds:g}", f"{seconds / cpu:.0f}x"),
            *(f"{target}x", f"{result:.6g}", "-" if value is None else f"{value:.6g}"),
        )
    console.print(table)
    cpu, wall, _ = cpu_seconds(partial(everything, inputs))
    console.print(f"All of lmmrotate evaluate: {cpu:.2f} CPU s, {wall:.2f} s", highlight=False)
    console.print(f"Exact overlaps are {clipping_share(inputs):.0%} of mAP's CPU time", highlight=False)
    for name, work, other in (
        ("mAP", our_map, shapely_map),
        ("published F1", lambda i: published(*i.tables()).f1, shapely_f1),
    ):
        ours, _, result = cpu_seconds(partial(work, inputs))
        seconds, other_result = measure(partial(other, inputs), 1)
        console.print(
            f"{name} beside shapely (STR tree, same run): {ours:.3f} against {seconds:.2f} s, "
            f"{seconds / ours:.0f}x; {result:.6f} and {other_result:.6f}",
            highlight=False,
        )
    if results:
        for line in agreement(inputs, results):
            console.print(line, highlight=False)


if __name__ == "__main__":
    main()
