"""Predicting many images into one predictions file, through interruptions and bad images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lmmrotate.data.images import read_image
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.predictions import Predictions, PredictionsHeader, parse_prediction, prediction_line
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.inference.predictor import Predictor


@dataclass(frozen=True)
class BatchResult:
    """What ``predict_to_file`` did."""

    path: Path
    predicted: int
    """Images predicted in this call."""
    resumed: int
    """Images taken over from an interrupted call."""
    unreadable: tuple[str, ...]
    """One message an image that could not be read; they have no line in the file."""


def predict_to_file(
    predictor: Predictor,
    images: Sequence[tuple[str, Path]],
    output: Path,
    *,
    batch_size: int = 8,
    num_beams: int = 1,
    max_new_tokens: int | None = None,
) -> BatchResult:
    """Predict ``images``, pairs of (name in the file, path), and write ``output`` in their order.

    Finished images are kept in ``output`` + ``.part``; a call that was interrupted goes on from there,
    and ``output`` itself appears only when it is complete. Images that cannot be read are reported and
    left out.

    Raises:
        ConfigError: if the part file belongs to another model or other settings.
    """
    header = PredictionsHeader(
        predictor.header.classes,
        predictor.header.model,
        predictor.header.codec,
        {"num_beams": num_beams, "max_new_tokens": max_new_tokens},
    )
    part = output.with_name(output.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    images = list(dict(images).items())  # an image named twice is predicted once
    done = _read_part(part, header)
    resumed = len(done)
    todo = [(name, path) for name, path in images if name not in done]
    unreadable: list[str] = []
    with part.open("a", encoding="utf-8") as file, _progress() as progress:
        task = progress.add_task("predicting", total=len(images), completed=resumed)
        for start in range(0, len(todo), batch_size):
            chunk = todo[start : start + batch_size]
            names, pictures = _read_pictures(chunk, unreadable)
            if pictures:
                for prediction in predictor.predict_pictures(
                    names, pictures, num_beams=num_beams, max_new_tokens=max_new_tokens
                ):
                    done[prediction.image] = prediction
                    file.write(prediction_line(prediction))
                file.flush()
                os.fsync(file.fileno())
            progress.advance(task, len(chunk))
    Predictions(header, tuple(done[name] for name, _ in images if name in done)).write(output)
    part.unlink()
    return BatchResult(output, len(todo) - len(unreadable), resumed, tuple(unreadable))


def _read_pictures(
    chunk: Sequence[tuple[str, Path]], unreadable: list[str]
) -> tuple[list[str], list[Image.Image]]:
    names: list[str] = []
    pictures: list[Image.Image] = []
    for name, path in chunk:
        try:
            pictures.append(read_image(path))
            names.append(name)
        except DataError as error:
            unreadable.append(str(error))
    return names, pictures


def _read_part(part: Path, header: PredictionsHeader) -> dict[str, Prediction]:
    """Predictions of an interrupted call; starts the file where there is none.

    A last line without its newline was cut off by the interruption and is dropped.
    """
    whole, newline, _cut = (
        part.read_text(encoding="utf-8").rpartition("\n") if part.exists() else ("", "", "")
    )
    lines = whole.split("\n") if newline else []
    if lines and lines[0] + "\n" != header.line():
        raise ConfigError(
            f"{part}: was begun by another model or with other settings; remove it or choose another output"
        )
    write_text_atomic(part, [f"{line}\n" for line in lines] or [header.line()])
    rows = (
        parse_prediction(json.loads(line), header.classes, f"{part}:{number}")
        for number, line in enumerate(lines[1:], start=2)
    )
    return {prediction.image: prediction for prediction in rows}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
