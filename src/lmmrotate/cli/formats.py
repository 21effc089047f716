"""Every annotation format there is, those included that need a codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.errors import ConfigError

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


def source_format(
    named: str | None, dataset: str, image_folder: Path | None, annotations: Path | None
) -> tuple[Format, Path]:
    """What annotations are read as, and where their images lie.

    Args:
        named: a format, if the user names one; else ``.jsonl`` is a manifest, a data set of the catalog has
            its own, and all others are "dota".
        dataset: perhaps of the catalog.
        image_folder: default: the folder of the manifest.
        annotations: folder or file.

    Raises:
        ConfigError: for an unknown format, or without a folder of images, where it is no manifest.
    """
    from lmmrotate.data.catalog import dataset_spec, is_known
    from lmmrotate.data.formats import annotation_format

    is_manifest = annotations is not None and annotations.suffix == ".jsonl"
    usual = dataset_spec(dataset).annotation_format if is_known(dataset) else "dota"
    chosen = annotation_format(named or ("manifest" if is_manifest else usual), all_formats())
    if image_folder is None and annotations is not None and chosen.name == "manifest":
        image_folder = annotations.parent
    if image_folder is None:
        raise ConfigError("--image_folder must be given, but for a manifest (--annotations FILE.jsonl)")
    return chosen, image_folder
