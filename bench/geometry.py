"""How long rotated overlap and NMS take, beside shapely (same run) and the published code (recorded).

Run ``python bench/geometry.py``. Inputs and recorded timings are those of reference-timings.md:
mmcv 2.0.1's CPU operators, measured on a quiet machine of the same type in another run.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numba
import numpy as np
import numpy.typing as npt
import shapely
from rich.console import Console
from rich.table import Table

from lmmrotate.geometry.overlap import iou_matrix, iou_pairs, rotated_nms
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

REPEATS = 5
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One line of the table; each function returns a number that shows what was computed."""

    name: str
    ours: Callable[[], float]
    shapely: Callable[[], float] | None
    mmcv_seconds: float | None
    mmcv_result: float | None


def random_quads(seed: int, count: int, extent: float) -> tuple[Quads, Scores]:
    """Boxes with sides of 8 to 80 px and centres within ``extent`` px, and scores."""
    random = np.random.default_rng(seed)
    columns = [(0, extent), (0, extent), (8, 80), (8, 80), (0, np.pi / 2)]
    rboxes = np.stack([random.uniform(*bounds, count) for bounds in columns], axis=1).astype(np.float32)
    return rboxes_to_quads(rboxes), random.uniform(0, 1, count).astype(np.float32)


def matrix_sum(a: Quads, b: Quads) -> float:
    return float(iou_matrix(a, b).sum())


def pairs_sum(a: Quads, b: Quads) -> float:
    return float(iou_pairs(a, b).sum())


def boxes_kept(quads: Quads, scores: Scores) -> float:
    return float(len(rotated_nms(quads, scores, np.zeros(len(quads), dtype=np.int64), 0.1)))


def shapely_sum(a: Quads, b: Quads, matrix: bool) -> float:
    """Sum of the IoUs, the fast way with shapely: only pairs whose bounds meet (STR tree)."""
    first, second = shapely.polygons(a), shapely.polygons(b)
    if matrix:
        i, j = shapely.STRtree(second).query(first)
        first, second = first[i], second[j]
    shared = shapely.area(shapely.intersection(first, second))
    return float((shared / (shapely.area(first) + shapely.area(second) - shared)).sum())


def cases() -> list[Case]:
    found = []
    for name, extent, recorded in (("sparse", 1024, (1.76, 840.618965)), ("dense", 100, (None, None))):
        (a, _), (b, _) = random_quads(1, 1000, extent), random_quads(2, 1000, extent)
        found.append(
            Case(
                f"IoU 1,000 x 1,000, {name} ({extent} px)",
                partial(matrix_sum, a, b),
                partial(shapely_sum, a, b, matrix=True),
                *recorded,
            )
        )
    a, b = (np.tile(random_quads(seed, 1000, 1024)[0], (100, 1, 1)) for seed in (1, 3))
    found.append(
        Case(
            "IoU of 100,000 aligned pairs",
            partial(pairs_sum, a, b),
            partial(shapely_sum, a, b, matrix=False),
            0.177,
            None,
        )
    )
    for count, extent, seconds, kept in ((5_000, 1024, 1.42, 879), (20_000, 4096, 68.8, 7685)):
        quads, scores = random_quads(4, count, extent)
        found.append(
            Case(
                f"NMS {count:,} boxes, IoU 0.1",
                partial(boxes_kept, quads, scores),
                None,
                seconds,
                kept,
            )
        )
    return found


def measure(function: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Median seconds and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown CPU"


def versions() -> str:
    modules = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, numba, shapely))
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{cpu_name()}, {os.cpu_count()} cores, {load}; Python {platform.python_version()}, {modules}"


def against(seconds: float | None, ours: float) -> tuple[str, str]:
    """Another implementation's seconds, and how many times ours that is."""
    return ("-", "-") if seconds is None else (f"{seconds:.3f}", f"{seconds / ours:.0f}x")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}".removesuffix(".000000")


def main() -> None:
    table = Table(
        *("what", "lmmrotate", "shapely", "ratio", "mmcv (recorded)", "ratio"),
        *("our result", "shapely's", "mmcv's"),
        caption=f"Seconds on one core: median of {REPEATS} calls after a first one (shapely: one call). "
        "mmcv 2.0.1 (CPU) was recorded in another run, on a quiet machine of the same type. "
        "Ratio: theirs / ours. Results: sum of IoU, or boxes kept.",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for case in cases():
        case.ours()  # compiles, or loads what an earlier run compiled
        ours, result = measure(case.ours, REPEATS)
        other, other_result = measure(case.shapely, 1) if case.shapely else (None, None)
        table.add_row(
            case.name,
            f"{ours:.4f}",
            *against(other, ours),
            *against(case.mmcv_seconds, ours),
            *map(number, (result, other_result, case.mmcv_result)),
        )
    console = Console(width=150)
    console.print(versions(), highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
