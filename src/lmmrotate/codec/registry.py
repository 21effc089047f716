"""Response formats by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lmmrotate.codec.allseeing import AllSeeingCodec
from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.codec.pixel_text import JsonCodec, PlainCodec
from lmmrotate.codec.rbox_tokens import RBoxTokenCodec
from lmmrotate.errors import CheckpointError, ConfigError

FORMATS: dict[str, type[LocTokenCodec | RBoxTokenCodec | AllSeeingCodec | PlainCodec | JsonCodec]] = {
    "loc_tokens": LocTokenCodec,
    "florence2": LocTokenCodec,
    "rbox": RBoxTokenCodec,
    "allseeing": AllSeeingCodec,
    "plain": PlainCodec,
    "json": JsonCodec,
}
"""``florence2`` is the published name of ``loc_tokens``."""


def make_codec(response_format: str, classes: Sequence[str], **options: Any) -> BoxCodec:
    """The codec of a response format for a class list.

    Raises:
        ConfigError: for an unknown format (the message lists the known ones), an option the format does
            not have, or classes that are spoken alike.
    """
    if response_format not in FORMATS:
        raise ConfigError(f"response_format is {response_format!r}; valid: {', '.join(FORMATS)}")
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ConfigError(f"classes must be a list of names, got {classes!r}")
    format_class = FORMATS[response_format]
    valid = [field.name for field in fields(format_class) if field.name != "classes"]
    if unknown := options.keys() - valid:
        raise ConfigError(
            f"response_format {response_format}: unknown option {', '.join(sorted(unknown))}; "
            f"valid: {', '.join(valid)}"
        )
    return format_class(classes=tuple(classes), **options)


def codec_from_json(values: Mapping[str, Any]) -> BoxCodec:
    """The codec that ``BoxCodec.to_json`` described.

    Raises:
        CheckpointError: if the description is incomplete or of a format this version does not know.
    """
    try:
        options = dict(values)
        return make_codec(options.pop("name"), options.pop("classes"), **options)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"the run's codec cannot be built: {error}") from error
