"""Predicting many images into one predictions file, through interruptions and bad images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from lmmrotate.data.images import read_image
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.predictions import Predictions, PredictionsHeader, prediction_line, read_predictions
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import DEFAULT, Predictor


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
    options: DecodingOptions = DEFAULT,
) -> BatchResult:
    """Predict ``images``, pairs of (name in the file, path), and write ``output`` in their order.

    Finished images are kept in ``output`` + ``.part``; a call that was interrupted goes on from there,
    and ``output`` itself appears only when it is complete. Images that cannot be read are reported and
    left out.

    Raises:
        ConfigError: if the part file belongs to another model or other settings, or another process is
            writing the same output.
        DataError: if the output cannot be written, or the part file is damaged.
    """
    header = replace(predictor.header, settings={**predictor.header.settings, **asdict(options)})
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; give the file to write")
    part = output.with_name(output.name + ".part")
    images = list(dict(images).items())  # an image named twice is predicted once
    unreadable: list[str] = []
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(part.with_name(f".{part.name}.lock"), timeout=0) as lock:
            done = _read_part(part, header)
            resumed = len(done)
            todo = [(name, path) for name, path in images if name not in done]
            with part.open("a", encoding="utf-8") as file, progress_bar("images") as progress:
                task = progress.add_task("predicting", total=len(images), completed=resumed)
                for start in range(0, len(todo), batch_size):
                    chunk = todo[start : start + batch_size]
                    names, pictures = _read_pictures(chunk, unreadable)
                    if pictures:
                        for prediction in predictor.predict_pictures(names, pictures, options):
                            done[prediction.image] = prediction
                            file.write(prediction_line(prediction))
                        file.flush()
                        os.fsync(file.fileno())
                    progress.advance(task, len(chunk))
            Predictions(header, tuple(done[name] for name, _ in images if name in done)).write(output)
            part.unlink()
        Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        raise ConfigError(f"{output}: another process is writing it") from None
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error}") from error
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
    raw = part.read_bytes() if part.exists() else b""
    whole, newline, _cut = raw.rpartition(b"\n")
    if not newline:
        write_text_atomic(part, [header.line()])
        return {}
    part.write_bytes(whole + newline)
    first, *_ = whole.partition(b"\n")
    if first + newline != header.line().encode():
        raise ConfigError(
            f"{part}: was begun by another model or with other settings; remove it or choose another output"
        )
    return {prediction.image: prediction for prediction in read_predictions(part).images}
