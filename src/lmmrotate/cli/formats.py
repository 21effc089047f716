"""Every annotation format there is, those included that need a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmmrotate.data.formats.base import Format


def all_formats() -> dict[str, Format]:
    """By name."""
    from lmmrotate.codec.loc_tokens import LocTokenCodec
    from lmmrotate.data.formats import FORMATS
    from lmmrotate.data.formats.answer_files import answer_formats
    from lmmrotate.models.prompts import PUBLISHED_PROMPT

    answers = answer_formats(LocTokenCodec, PUBLISHED_PROMPT)
    return {**FORMATS, **{found.name: found for found in answers}}
