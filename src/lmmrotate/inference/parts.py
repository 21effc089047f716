"""Finished chunks of work on disk, while others are still under way.

A hidden folder beside the output holds one file a process. Its first line says what is being predicted, by
which model and with which options; every other line is a finished chunk: whole, or cut off by a kill and
dropped. Everybody reads everybody's files, so that a call goes on after any other, whatever the number of its
processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lmmrotate.data.jsonl import dump_line
from lmmrotate.data.predictions import PredictionsHeader
from lmmrotate.errors import ConfigError, DataError

KIND = "lmmrotate-part"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Chunk:
    """What became of the images of one chunk."""

    lines: tuple[str, ...]
    """Of the predictions file, one for every image that could be read, in order."""
    unreadable: Mapping[str, str]
    """By the names of the others, what is wrong with them."""
    seconds: float
    """That predicting took."""


class Parts:
    """The folder of finished chunks for one output."""

    def __init__(self, output: Path, header: PredictionsHeader, chunks: Sequence[Sequence[str]]) -> None:
        """
        Args:
            output: the file that is being made.
            header: its header.
            chunks: the names of the images in each chunk.
        """
        self.folder = output.with_name(f".{output.name}.parts")
        digest = hashlib.sha256(json.dumps(chunks).encode()).hexdigest()
        about = {"kind": KIND, "schema_version": SCHEMA_VERSION, "chunks": digest}
        self._first = dump_line(about | {"header": header.line()}).encode()
        self._count = len(chunks)

    def read(self) -> dict[int, Chunk]:
        """All finished chunks, by their numbers.

        Raises:
            ConfigError: if another model, other options or other images are in the folder.
            DataError: for a damaged file.
        """
        done: dict[int, Chunk] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            whole, _, _cut = path.read_bytes().rpartition(b"\n")
            lines = whole.split(b"\n") if whole else []
            if lines and lines[0] + b"\n" != self._first:
                raise ConfigError(
                    f"{self.folder}: was begun by another model, with other settings or for other images; "
                    "remove it or choose another output"
                )
            for number, line in enumerate(lines[1:], 2):
                place, chunk = parse_chunk(line, f"{path}:{number}")
                done[place] = chunk
        return done

    def open_own(self, name: str) -> BinaryIO:
        """A process's own file, to append to; a last line that was cut off is dropped."""
        path = self.folder / f"{name}.jsonl"
        whole, newline, _cut = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")
        file = path.open("wb")
        file.write(whole + newline or self._first)
        _to_disk(file)
        return file

    def is_complete(self, done: Mapping[int, Chunk]) -> bool:
        return len(done) == self._count

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def append(file: BinaryIO, number: int, chunk: Chunk) -> None:
    """Write a finished chunk, and wait until the disk has it."""
    file.write(dump_chunk(number, chunk).encode())
    _to_disk(file)


def dump_chunk(number: int, chunk: Chunk) -> str:
    """A finished chunk as one line of JSON, newline included."""
    row: dict[str, Any] = {"chunk": number} | asdict(chunk)
    return dump_line(row)


def parse_chunk(line: str | bytes, where: str) -> tuple[int, Chunk]:
    """Number and chunk of a line of ``dump_chunk``.

    Raises:
        DataError: starting with ``where``, if it is none.
    """
    try:
        row = json.loads(line)
        lines = tuple(map(str, row["lines"]))
        return int(row["chunk"]), Chunk(lines, dict(row["unreadable"]), float(row["seconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: damaged: {error!r}; remove the file to predict its images again") from None


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
