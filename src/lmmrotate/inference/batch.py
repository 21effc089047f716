"""Predicting many images into one predictions file, through interruptions, bad images, and by many processes.

The file is the same, byte for byte, however it came about: work is cut into fixed chunks, each of which is
always predicted as one batch, and the file is written once, in the order of the images, by whoever finds all
chunks finished.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.predictions import PredictionsHeader, prediction_line, read_predictions, write_timing
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.inference.parts import Chunk, Parts, append
from lmmrotate.inference.predictor import DEFAULT, Finder
from lmmrotate.inference.shares import Share
from lmmrotate.inference.sources import ImageSource, release_raster

Work = Sequence[tuple[str, ImageSource]]
"""Names in the file, and where the pictures are."""
Engine = Callable[[Iterable[tuple[int, Work]]], Iterator[tuple[int, Chunk]]]
"""From numbered chunks of work to what became of them, in any order."""


@dataclass(frozen=True)
class BatchResult:
    """What ``predict_to_file`` did."""

    path: Path
    predicted: int
    """Images predicted in this call by this process."""
    resumed: int
    """Images of this process's share that were finished before."""
    unreadable: tuple[str, ...]
    """One message an image that could not be read; they have no line in the file. Those of all processes, if
    this one has written the file."""
    finished: bool
    """The file is written; else other processes are still at work."""
    seconds: float
    """That predicting took."""


def predict_to_file(
    predictor: Finder,
    images: Work,
    output: Path,
    *,
    batch_size: int = 8,
    options: Any = DEFAULT,
    share: Share | None = None,
    engine: Engine | None = None,
    unit: str = "images",
    progress: bool = True,
) -> BatchResult:
    """Predict ``images`` and write ``output`` in their order.

    A call that was interrupted goes on where it was; the output appears when it is complete. One that is
    there already, by the same model and options and newer than all its images, is left as it is. Images that
    cannot be read are reported and left out.

    Args:
        options: how objects are found, for the predictor's kind.
        share: this process among others that have been given the same images; default: it is alone.
        engine: what predicts the chunks; default: ``predictor``, here.
        unit: of the progress bar.
        progress: show one, on stderr.

    Raises:
        ConfigError: if what was begun belongs to another model, other options or other images, or another
            process is doing this one's share.
        DataError: if the output cannot be written, or what was begun is damaged.
    """
    begin = time.perf_counter()
    share = share or Share()
    engine = engine or in_this_process(predictor, options)
    images = list(dict(images).items())  # an image named twice is predicted once
    settings = {
        **predictor.header.settings,
        **asdict(options),
        "batch_size": batch_size,
        "images": _fingerprint(images),
    }
    header = replace(predictor.header, settings=settings)
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; give the file to write")
    if (known := _finished_before(output, header, images)) is not None:
        return BatchResult(output, 0, len(images) - len(known), known, True, 0.0)
    chunks = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    names = [[name for name, _ in chunk] for chunk in chunks]
    parts = Parts(output, header, names)
    own = share.takes(names)
    process = f"{share.rank:05d}-of-{share.count:05d}"
    try:
        parts.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(parts.folder / f"{process}.lock", timeout=0):
            done = parts.read()
            todo = [number for number in own if number not in done]
            resumed = sum(len(chunks[number]) for number in own if number in done)
            with (
                parts.open_own(process) as file,
                progress_bar(unit, progress and share.rank == 0) as bar,
            ):
                task = bar.add_task(
                    "predicting", total=resumed + sum(len(chunks[n]) for n in todo), completed=resumed
                )
                for number, chunk in engine((number, chunks[number]) for number in todo):
                    append(file, number, chunk)
                    done[number] = chunk
                    bar.advance(task, len(chunks[number]))
        seconds = time.perf_counter() - begin
        finished = _finish(parts, output, header, done)
    except Timeout:
        raise ConfigError(f"{output}: another process is writing it") from None
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error}") from error
    mine = done if finished else {number: done[number] for number in own}
    unreadable = [message for number in sorted(mine) for message in mine[number].unreadable.values()]
    predicted = sum(len(done[number].lines) for number in todo)
    return BatchResult(output, predicted, resumed, tuple(unreadable), finished, seconds)


def in_this_process(predictor: Finder, options: Any) -> Engine:
    """The engine that predicts one chunk after the other."""

    def run(chunks: Iterable[tuple[int, Work]]) -> Iterator[tuple[int, Chunk]]:
        try:
            for number, chunk in chunks:
                yield number, predict_chunk(predictor, chunk, options)
        finally:
            release_raster()

    return run


def predict_chunk(predictor: Finder, chunk: Work, options: Any) -> Chunk:
    """Predict the images of a chunk that can be read, as one batch."""
    pictures: dict[str, Image.Image] = {}
    found: dict[str, Prediction] = {}
    unreadable: dict[str, str] = {}
    for name, source in chunk:
        try:
            picture = source.read()
        except DataError as error:
            unreadable[name] = str(error)
            continue
        try:
            predictor.check_shape(picture.size)
        except DataError as error:
            unreadable[name] = f"{source.path}: {error}"
            continue
        if source.skips_blank and picture.getcolors(1):
            found[name] = Prediction(name, *picture.size)
        else:
            pictures[name] = picture
    for prediction in predictor.predict_pictures(list(pictures), list(pictures.values()), options):
        found[prediction.image] = prediction
    predictions = [found[name] for name, _ in chunk if name in found]
    # How long it took is not part of what was found, so that files of two runs are the same.
    lines = tuple(prediction_line(replace(prediction, seconds=0.0)) for prediction in predictions)
    return Chunk(lines, unreadable, sum(prediction.seconds for prediction in predictions))


def _finish(parts: Parts, output: Path, header: PredictionsHeader, done: Mapping[int, Chunk]) -> bool:
    """Write the output if all chunks are finished and no other process has done so; whether it is written.

    Args:
        done: the chunks that this process knows of.
    """
    try:
        with FileLock(parts.folder / "finish.lock"):
            if not any(parts.folder.glob("*.jsonl")):
                return output.exists()  # written by another process a moment ago
            done = done if parts.is_complete(done) else parts.read()
            if not parts.is_complete(done):
                return False
            ordered = [done[number] for number in sorted(done)]
            bad = [name for chunk in ordered for name in chunk.unreadable]
            lines = [line for chunk in ordered for line in chunk.lines]
            write_timing(output, len(lines), sum(chunk.seconds for chunk in ordered))
            write_text_atomic(output, [_with_unreadable(header, bad).line(), *lines])
            parts.remove()
    except FileNotFoundError:  # the folder went away with that process's last act
        return output.exists()
    return True


def _fingerprint(images: Work) -> str:
    """Tells these images from others of the same names: by their names and the sizes of their files."""
    digest = hashlib.sha256()
    for name, source in images:
        try:
            size = source.path.stat().st_size
        except OSError:
            size = -1
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()[:16]


def _with_unreadable(header: PredictionsHeader, names: Sequence[str]) -> PredictionsHeader:
    return replace(header, settings={**header.settings, "unreadable": list(names)}) if names else header


def _finished_before(output: Path, header: PredictionsHeader, images: Work) -> tuple[str, ...] | None:
    """Messages on unreadable images of an output that holds what is asked for; None if there is none."""
    if not output.exists():
        return None
    with suppress(DataError, OSError):
        written = output.stat().st_mtime_ns
        found = read_predictions(output)
        bad = found.header.settings.get("unreadable", [])
        names = {name: source.path for name, source in images}
        in_file = [p.image for p in found.images]
        if (
            found.header == _with_unreadable(header, bad)
            and in_file == [name for name in names if name not in set(bad)]
            and set(bad) <= set(names)
            and all(path.stat().st_mtime_ns <= written for path in names.values())
        ):
            return tuple(f"{names[name]}: could not be read when {output} was written" for name in bad)
    return None
