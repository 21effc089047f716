"""Manifests too large for memory: records are read from the file when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmmrotate.data.jsonl import get, get_classes, parse_line, read_jsonl
from lmmrotate.data.manifest import KIND, SCHEMA_VERSION, parse_record
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError

_CHUNK = 1 << 24  # bytes


@dataclass(frozen=True, eq=False)
class ManifestFile(Sequence[ImageRecord]):
    """A manifest on disk, or some of its images: 16 bytes of memory an image.

    Indexing reads one line; iterating reads them in order. Unlike ``read_manifest`` it does not notice two
    lines of one image, and a faulty line only when it is read.
    """

    path: Path
    dataset: str
    split: str
    classes: tuple[str, ...]
    image_folder: Path
    starts: npt.NDArray[np.int64]
    """(N,) where the lines begin, in bytes."""
    lines: npt.NDArray[np.int64]
    """(N,) their numbers, from 1."""

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> ImageRecord:  # type: ignore[override]
        """Record number ``index``.

        Raises:
            DataError: naming file and line, for a line that does not follow the schema.
        """
        with self.path.open("rb") as file:
            file.seek(int(self.starts[index]))
            return self._parse(file.readline(), int(self.lines[index]))

    def __iter__(self) -> Iterator[ImageRecord]:
        with self.path.open("rb") as file:
            for start, number in zip(self.starts.tolist(), self.lines.tolist(), strict=True):
                if file.tell() != start:
                    file.seek(start)
                yield self._parse(file.readline(), number)

    def _parse(self, line: bytes, number: int) -> ImageRecord:
        where = f"{self.path}:{number}"
        return parse_record(parse_line(line, where), self.classes, where)

    def select(self, keep: Callable[[ImageRecord], bool]) -> ManifestFile:
        """The images for which ``keep`` is true; every record is read once."""
        return self._at(np.fromiter((keep(record) for record in self), dtype=np.bool_, count=len(self)))

    def sample(self, count: int, seed: int) -> ManifestFile:
        """``count`` images drawn at random, in the file's order; all of them if there are no more."""
        if count >= len(self):
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False, shuffle=False)
        return self._at(np.sort(drawn))

    def _at(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> ManifestFile:
        return replace(self, starts=self.starts[which], lines=self.lines[which])


def open_manifest(path: Path, image_folder: Path | None = None) -> ManifestFile:
    """Open a manifest; its lines are found, not yet read.

    Raises:
        DataError: naming file and line, if it is missing or its header does not follow the schema.
    """
    header, _ = read_jsonl(path, KIND, SCHEMA_VERSION)
    starts, lines = _line_starts(path)
    return ManifestFile(
        path,
        get(header, "dataset", str, f"{path}:1"),
        get(header, "split", str, f"{path}:1"),
        get_classes(header, path),
        image_folder or path.parent,
        starts[1:],  # the header
        lines[1:],
    )


def _line_starts(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where every line that is not blank begins, and its number from 1."""
    ends = [np.array([-1])]
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + size)
                size += len(chunk)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    starts = np.concatenate(ends) + 1
    lengths = np.diff(starts, append=size + 1) - 1
    filled = np.flatnonzero(lengths > 1)  # a line of one byte is blank, or the \r of a blank one
    return starts[filled], filled + 1
