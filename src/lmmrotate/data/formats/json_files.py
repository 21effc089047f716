"""JSON files that hold all annotations at once: reading them, with errors that name the entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lmmrotate.data.formats.objects import read_text
from lmmrotate.data.jsonl import get, get_image
from lmmrotate.errors import DataError


def read_json(path: Path) -> Any:
    """A whole JSON file; NaN and infinity are refused.

    Raises:
        DataError: naming file, line and column, if it is missing or not JSON.
    """
    try:
        return json.loads(read_text(path), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # NaN, a number of 5,000 digits, 100,000 brackets
        raise DataError(f"{path}: not JSON that can be read ({error})") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def as_object(value: object, where: str) -> dict[str, Any]:
    """``value``, if it is a JSON object.

    Raises:
        DataError: if it is anything else.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object {{…}}, found a {type(value).__name__}")
    return value


def image_under(row: Mapping[str, Any], key: str, where: str) -> str:
    """The image path under ``key``, checked as by ``jsonl.get_image``."""
    return get_image({"image": get(row, key, str, where)}, where)
