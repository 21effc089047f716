"""Which formula for a box's score ranks best, and what calibration makes of it.

Held-out synthetic tiles of the embedded model: some to calibrate on, others to measure on (sizes and seed of
bench/tiny_accuracy.py's first row). The gain over mAP_nc, which knows no scores, is the point of scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lmmrotate.assets import TINY
from lmmrotate.codec.base import Decoded
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.synthetic.scene import SceneSpec, render_scene
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.inference.calibrating import Sample, fit
from lmmrotate.inference.calibration import METHODS
from lmmrotate.inference.predictor import Predictor
from lmmrotate.inference.scores import FORMULAS, Evidence

SEEDS = (2001, 1000)
"""Of the tiles to calibrate on, and of those to measure on (the first row of bench/tiny_accuracy.py)."""
MOST_OBJECTS = 20
GSD_M = (0.2, 0.4)
SIDE_PX = 256
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="run directory (default: the embedded model)")
    parser.add_argument("--known", type=int, default=600, help="tiles to calibrate on: the first set")
    parser.add_argument("--tiles", type=int, default=300, help="to measure on")
    options = parser.parse_args()
    predictor = Predictor.from_run(options.model)
    counts = (options.known, options.tiles)
    known, unknown = (sample(predictor, *one) for one in zip(SEEDS, counts, strict=True))
    table = Table(title=f"{options.model}: {options.tiles} held-out tiles, IoU 0.5")
    for heading in ("score", "mAP", "mAP - mAP_nc", "mAP area", "calibration error", "first set: mAP"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for formula in FORMULAS:
        values = unknown.values(formula)
        first = known.judged(known.values(formula))
        add(table, formula, unknown.judged(values), f"{first.map_11:.3f}")
        for method in METHODS:
            curve = fit(known, formula, method)
            add(table, f"  {method}", unknown.judged([curve.apply(some) for some in values]))
    Console().print(table)


def sample(predictor: Predictor, seed: int, tiles: int) -> Sample:
    spec = SceneSpec(SIDE_PX, SIDE_PX, GSD_M, MOST_OBJECTS, predictor.classes)
    scenes = [render_scene(spec, seed, i) for i in track(range(tiles), "drawing")]
    found: list[tuple[Decoded, Evidence]] = []
    for start in track(range(0, tiles, BATCH), "predicting"):
        found += predictor.evidence([Image.fromarray(pixels) for pixels, _ in scenes[start : start + BATCH]])
    records = tuple(record for _, record in scenes)
    return Sample(Manifest("synthetic", "", predictor.classes, records, Path()), tuple(found))


def add(table: Table, name: str, result: Evaluation, first: str = "") -> None:
    ece = result.details.calibration.ece if result.details else np.nan
    numbers = (result.map_11, result.map_11 - result.map_nc, result.map_area, ece)
    table.add_row(name, *(f"{number:.3f}" for number in numbers), first)


if __name__ == "__main__":
    main()
