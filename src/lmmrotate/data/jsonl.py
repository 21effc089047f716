"""Files of one JSON object a line with a header line: safe writing, errors that name the line."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

import numpy as np

from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import Quads


def dump_line(row: Mapping[str, Any]) -> str:
    """One JSON line with its newline; NaN and infinity are refused (ValueError).

    NumPy numbers are written as plain ones.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a model's answer: only an escape can hold it
        text = json.dumps(row, allow_nan=False, default=_plain)
    return text + "\n"


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to take the place of ``path``, so that a reader sees the old one or the new, never a part.

    What is written goes to a hidden ``.tmp`` file beside it, is flushed to disk and renamed; missing
    folders are made. If the body raises, ``path`` stays as it was.

    Args:
        path: the file.
        durable: wait until the disk has it. Without, a power cut may leave less than was written.

    Raises:
        DataError: naming the file, if it cannot be written (no permission, disk full, …).
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def write_text_atomic(path: Path, chunks: Iterable[str]) -> None:
    """Write ``chunks`` to ``path`` as UTF-8, all or nothing (see ``replacing``)."""
    with replacing(path) as file:
        for chunk in chunks:
            file.write(chunk.encode())


def read_note(path: Path) -> Any:
    """What a small JSON file says about the folder it stands in; None if there is none.

    Raises:
        ConfigError: naming the file, if it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); choose another folder") from error


def read_jsonl(
    path: Path, kind: str, version: int
) -> tuple[dict[str, Any], Iterator[tuple[int, dict[str, Any]]]]:
    """Open a file whose first line is a header ``{"kind": kind, "schema_version": version, …}``.

    Returns the header and an iterator of (line number from 1, row). Blank lines are passed over.

    Raises:
        DataError: naming file and line, for a missing or empty file, another kind of file, a newer
            schema version, or a line that is not a JSON object.
    """
    rows = _objects(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: empty file; expected a header line with kind {kind!r}")
    number, header = first
    if header.get("kind") != kind:
        raise DataError(
            f"{path}:{number}: kind is {header.get('kind')!r}, expected {kind!r} in the header line"
        )
    if header.get("schema_version") != version:
        raise DataError(
            f"{path}:{number}: schema_version {header.get('schema_version')!r} is not supported; "
            f"this lmmrotate reads {version}"
        )
    return header, rows


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, parse_line(line, f"{path}:{number}")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def parse_line(line: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object that a line holds.

    Raises:
        DataError: if it holds anything else.
    """
    try:
        row = _DECODER.decode(line if isinstance(line, str) else line.decode())
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # NaN, a number of 5,000 digits, 100,000 brackets
        raise DataError(f"{where}: not JSON that can be read ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_NUMBERS = frozenset({int, float})


def get(row: Mapping[str, Any], key: str, types: type | tuple[type, ...], where: str) -> Any:
    """``row[key]``, checked against ``types`` (a bool never passes as a number).

    Raises:
        DataError: if the key is missing or its value is of another type.
    """
    if key not in row:
        raise DataError(f"{where}: {key!r} is missing")
    value = row[key]
    if type(value) is types:  # most often; the checks below take four times as long
        return value
    wanted = types if isinstance(types, tuple) else (types,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(t.__name__ for t in wanted)
        raise DataError(f"{where}: {key!r} must be {names}, found {value!r}")
    return value


def get_size(row: Mapping[str, Any], where: str) -> tuple[int, int]:
    """``(width, height)`` of a row, both at least 1."""
    width, height = (int(get(row, key, int, where)) for key in ("width", "height"))
    if width < 1 or height < 1:
        raise DataError(f"{where}: width and height must be at least 1, found {width} x {height}")
    return width, height


def get_classes(header: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The header's class list: distinct, non-empty strings."""
    classes = get(header, "classes", list, f"{path}:1")
    if not classes or not all(isinstance(c, str) and c for c in classes) or len(set(classes)) != len(classes):
        raise DataError(f"{path}:1: 'classes' must be a list of distinct, non-empty names, found {classes!r}")
    return tuple(classes)


def get_label(row: Mapping[str, Any], classes: tuple[str, ...], where: str) -> str:
    """The row's label, one of ``classes``."""
    label = str(get(row, "label", str, where))
    if label not in classes:
        raise DataError(f"{where}: unknown class {label!r}; the header lists {', '.join(classes)}")
    return label


def get_quads(rows: list[Any], where: str) -> Quads:
    """The ``quad`` of every row as (N, 4, 2); each must be 8 finite numbers."""
    try:
        quads = np.array([_get_quad(row, where) for row in rows], dtype=np.float64)
    except OverflowError:  # a whole number beyond float64
        quads = np.array(np.inf)
    if not np.isfinite(quads).all():
        raise DataError(f"{where}: 'quad' contains a number that is not finite")
    return quads.reshape(-1, 4, 2)


def _get_quad(row: Any, where: str) -> list[float]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected objects in the list, found {row!r}")
    quad: list[float] = get(row, "quad", list, where)
    if len(quad) != 8 or not _NUMBERS.issuperset(map(type, quad)):
        raise DataError(f"{where}: 'quad' must be 8 numbers x1 y1 … x4 y4, found {quad!r}")
    return quad


def get_number(row: Mapping[str, Any], key: str, where: str) -> float:
    """``row[key]`` as a finite float."""
    try:
        number = float(get(row, key, (int, float), where))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"{where}: {key!r} must be finite, found {row[key]!r}")
    return number


def get_image(row: Mapping[str, Any], where: str) -> str:
    """The row's image path, with forward slashes, relative and inside the image folder.

    Raises:
        DataError: for an absolute path or one with ``..``: a file from elsewhere must not make us read
            outside the image folder.
    """
    image: str = get(row, "image", str, where)
    path = PurePosixPath(image.replace("\\", "/"))
    drive = len(image) > 1 and image[1] == ":"
    if not path.name or path.is_absolute() or drive or ".." in path.parts or "\0" in image:
        raise DataError(
            f"{where}: image path {image!r} must name a file inside the image folder "
            "(relative, no '..', no leading '/')"
        )
    return path.as_posix()


def quad_numbers(quad: np.ndarray, digits: int = 3) -> list[float]:
    """A quad as 8 rounded numbers; a thousandth of a pixel is far below annotation accuracy."""
    return [round(float(v), digits) + 0.0 for v in quad.reshape(8)]  # + 0.0: no "-0.0"
