"""How well the embedded model detects: synthetic tiles from seeds that it was never trained on.

Run ``python bench/tiny_accuracy.py [--model RUN] [--tiles 300] [--draw FOLDER]``. Prints mAP and mF1 for
easy, ordinary and dense tiles, the classes of the ordinary ones, and how far scores can be taken for
probabilities. With ``--draw`` it also writes pictures of the first tiles, detections left, truth right.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lmmrotate.assets import TINY
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.data.synthetic.scene import SceneSpec, render_scene
from lmmrotate.evaluation.calibration import Calibration
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.inference.predictor import Predictor
from lmmrotate.report.draw import draw_boxes
from lmmrotate.report.palette import class_colours
from lmmrotate.report.tables import evaluation_table

SETS: dict[str, tuple[int, int | str]] = {  # first row is what the model card quotes
    "0 to 20 objects": (1000, 20),
    "easy: sparse, 0 to 6": (1001, "sparse"),
    "0 to 50 objects": (1002, 50),
}
"""Seeds and densities; pretraining sees the scenes of seeds 0, 1 and 2."""
GSD_M = (0.2, 0.4)
SIDE_PX = 256
BATCH = 16
COLUMNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="run directory (default: the embedded model)")
    parser.add_argument("--tiles", type=int, default=300)
    parser.add_argument("--draw", type=Path, help="folder for pictures")
    options = parser.parse_args()
    begin = time.perf_counter()
    console = Console()
    predictor = Predictor.from_run(options.model)
    table = Table(title=f"{options.model}: {options.tiles} tiles of {SIDE_PX} px a row, IoU 0.5")
    for heading in ("tiles", "objects/tile", "mAP", "mAP area", "mAP_nc", "mF1", "s/tile"):
        table.add_column(heading, justify="left" if heading == "tiles" else "right")
    results: list[Evaluation] = []
    for name, (seed, density) in SETS.items():
        spec = SceneSpec(SIDE_PX, SIDE_PX, GSD_M, density, predictor.classes)  # type: ignore[arg-type]
        scenes = [render_scene(spec, seed, i) for i in track(range(options.tiles), f"drawing {name}")]
        records = tuple(record for _, record in scenes)
        pictures = [Image.fromarray(pixels) for pixels, _ in scenes]
        manifest = Manifest("synthetic", name, predictor.classes, records, Path())
        predictions = Predictions(predictor.header, tuple(predict(predictor, records, pictures)))
        result = evaluate(manifest, predictions)
        results.append(result)
        numbers = (result.map_11, result.map_area, result.map_nc, result.mf1)
        objects = np.mean([len(record.labels) for record in records])
        table.add_row(
            name, f"{objects:.1f}", *(f"{n:.3f}" for n in numbers), f"{result.seconds_per_image:.3f}"
        )
        if options.draw:
            draw(options.draw, name, pictures[:10], records, predictions)
    console.print(table)
    console.print(evaluation_table(results[0]))
    console.print(reliability(results[0].details.calibration))  # type: ignore[union-attr]
    console.print(f"{time.perf_counter() - begin:.0f} s")


def predict(
    predictor: Predictor, records: tuple[ImageRecord, ...], pictures: list[Image.Image]
) -> list[Prediction]:
    """Every tile; those with as many objects together, so that no batch waits for one long answer."""
    order = sorted(range(len(pictures)), key=lambda i: len(records[i].labels))
    found: dict[int, Prediction] = {}
    for start in track(range(0, len(order), BATCH), "predicting"):
        chunk = order[start : start + BATCH]
        names = [records[i].image for i in chunk]
        found |= zip(chunk, predictor.predict_pictures(names, [pictures[i] for i in chunk]), strict=True)
    return [found[i] for i in range(len(pictures))]


def reliability(calibration: Calibration) -> Table:
    """What share of the detections of a score is right."""
    table = Table(title="scores as probabilities")
    for heading in ("mean score", "detections", "right"):
        table.add_column(heading, justify="right")
    columns = calibration.score, calibration.counts, calibration.right
    for score, count, right in zip(*columns, strict=True):
        if count:
            table.add_row(f"{score:.3f}", str(count), f"{right:.3f}")
    table.caption = f"expected calibration error {calibration.ece:.3f}"
    return table


def draw(
    folder: Path,
    name: str,
    pictures: list[Image.Image],
    records: tuple[ImageRecord, ...],
    predictions: Predictions,
) -> None:
    """One sheet: a row of detections over a row of truths."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = class_colours(predictions.header.classes)
    for start in range(0, len(pictures), COLUMNS):
        sheet = Image.new("RGB", (COLUMNS * SIDE_PX * 2, 0))
        for row in (False, True):
            drawn = []
            for picture, record, prediction in list(zip(pictures, records, predictions.images, strict=False))[
                start : start + COLUMNS
            ]:
                big = picture.resize((2 * SIDE_PX, 2 * SIDE_PX), Image.Resampling.LANCZOS)
                boxes = record if row else prediction
                drawn.append(draw_boxes(big, 2 * boxes.quads, boxes.labels, colours=colours))
            sheet = _below(sheet, drawn)
        sheet.save(folder / f"{name.split(':')[0].replace(' ', '_')}_{start}.png")


def _below(sheet: Image.Image, row: list[Image.Image]) -> Image.Image:
    """A row of pictures under what there is; their legends may make them differ in height."""
    taller = Image.new("RGB", (sheet.width, sheet.height + max(p.height for p in row)))
    taller.paste(sheet, (0, 0))
    for number, picture in enumerate(row):
        taller.paste(picture, (number * 2 * SIDE_PX, sheet.height))
    return taller


if __name__ == "__main__":
    main()
