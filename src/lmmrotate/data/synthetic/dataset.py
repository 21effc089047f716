"""Many scenes: a data set on disk, or a stream of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from lmmrotate.data.jsonl import replacing, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.scene import SceneSpec, describe_scene, image_name, render_scene
from lmmrotate.data.workers import core_count, worker_pool
from lmmrotate.errors import ConfigError, DataError

DATASET = "synthetic"

GENERATOR_VERSION = 3
"""Raised whenever the same seed gives another picture, so that an old folder is not continued."""

_BATCH = 8  # scenes a worker makes for one request
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)

Scene = tuple[npt.NDArray[np.uint8], ImageRecord]
_T = TypeVar("_T")


def synthesise(
    folder: Path,
    count: int,
    spec: SceneSpec,
    *,
    seed: int = 0,
    split: str = "train",
    workers: int | None = None,
    progress: bool = False,
) -> Manifest:
    """Write ``count`` scenes to ``folder/images/{split}_{index:06d}.png`` and ``folder/{split}.jsonl``.

    An interrupted run goes on where it stopped, and a finished one can be made longer: images that exist
    are not written again (``{split}.spec.json`` remembers what they were made from). Every image is
    written whole or not at all, the manifest last. Workers start by "spawn": a script that calls this
    needs the usual ``if __name__ == "__main__":``.

    Args:
        folder: new, or left by an earlier run with the same spec and seed.
        count: at least 1. More images than that in the folder are left alone.
        spec: what kind of scenes.
        seed: at least 0. Use different seeds for different splits: the split's name changes nothing.
        split: a file name stem.
        workers: processes; default: one for each core. 1 works in this process.
        progress: show count and remaining time on stderr.

    Raises:
        ConfigError: for numbers out of range, or a folder made with another spec or seed (says what differs).
        DataError: naming the file, if something cannot be written.
    """
    if count < 1:
        raise ConfigError(f"synthetic: count must be at least 1, got {count}")
    if not split or Path(split).name != split or "\\" in split:
        raise ConfigError(f"synthetic: split must be a plain name such as 'train', got {split!r}")
    workers = _checked(seed, 0, workers)
    _claim(folder / f"{split}.spec.json", spec, seed)

    records: list[ImageRecord] = []
    with progress_bar("scenes", progress) as bar:
        task = bar.add_task("synthesising", total=count)
        for batch in _mapped(partial(_write_batch, folder, spec, seed, split), _batches(0, count), workers):
            records += batch
            bar.update(task, advance=len(batch))
    manifest = Manifest(DATASET, split, spec.classes, tuple(records), folder)
    manifest.write(folder / f"{split}.jsonl")
    return manifest


def stream_scenes(
    spec: SceneSpec, seed: int = 0, start: int = 0, count: int | None = None, workers: int | None = 1
) -> Iterator[Scene]:
    """Scenes ``start``, ``start + 1``, … in this order, as ``render_scene`` gives them.

    Args:
        spec, seed: as for ``render_scene``.
        start: index of the first scene.
        count: how many; None goes on for ever.
        workers: processes (None: one for each core), a few batches ahead of the reader. They end when
            the iterator is exhausted or closed.
    """
    workers = _checked(seed, start, workers)
    if count is not None and count < 0:
        raise ConfigError(f"synthetic: count must be at least 0, got {count}")
    batches = _mapped(partial(_render_batch, spec, seed), _batches(start, count), workers)
    return (scene for batch in batches for scene in batch)


def _checked(seed: int, start: int, workers: int | None) -> int:
    if seed < 0 or start < 0:
        raise ConfigError(f"synthetic: seed and index must be at least 0, got {seed} and {start}")
    if workers is not None and workers < 1:
        raise ConfigError(f"synthetic: workers must be at least 1, got {workers}")
    return workers or core_count()


def _claim(path: Path, spec: SceneSpec, seed: int) -> None:
    """Write down what the images are made from, or refuse a folder that was made from something else."""
    ours = json.loads(json.dumps({"generator_version": GENERATOR_VERSION, "seed": seed, **asdict(spec)}))
    if not path.exists():
        write_text_atomic(path, [json.dumps(ours, indent=2) + "\n"])
        return
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(theirs, dict):
        raise DataError(f"{path}: expected a JSON object")
    different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if different:
        changes = "; ".join(f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} now" for key in different)
        raise ConfigError(f"{path.parent}: holds scenes made differently: {changes}. Choose another folder")


def _batches(start: int, count: int | None) -> Iterator[range]:
    index = start
    while count is None or index < start + count:
        stop = index + _BATCH if count is None else min(index + _BATCH, start + count)
        yield range(index, stop)
        index = stop


def _render_batch(spec: SceneSpec, seed: int, indices: range) -> list[Scene]:
    return [render_scene(spec, seed, index) for index in indices]


def _write_batch(folder: Path, spec: SceneSpec, seed: int, split: str, indices: range) -> list[ImageRecord]:
    """Make the scenes, and write those whose image is missing."""
    records = []
    for index in indices:
        path = folder / image_name(index, split)
        if path.exists():
            records.append(describe_scene(spec, seed, index, split=split))
            continue
        pixels, record = render_scene(spec, seed, index, split=split)
        _, data = cv2.imencode(".png", pixels[..., ::-1], _PNG)
        with replacing(path) as file:
            file.write(data.tobytes())
        records.append(record)
    return records


def _mapped(function: Callable[[range], _T], jobs: Iterable[range], workers: int) -> Iterator[_T]:
    """``function(job)`` for each job in order, with no more than a few results waiting."""
    if workers == 1:
        yield from map(function, jobs)
        return
    with worker_pool(workers) as pool:
        waiting: deque[Future[_T]] = deque()
        for job in jobs:
            waiting.append(pool.submit(function, job))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
