"""Checkpoints from one layout to another, for users of this package and of the published code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lmmrotate.assets import model_path
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.errors import ConfigError
from lmmrotate.models.loading import load_family
from lmmrotate.models.prompts import PUBLISHED_PROMPT
from lmmrotate.runs import RUN_FILE, RunInfo, installed_versions, read_run, weights_digest


def export_checkpoint(
    source: str,
    output: Path,
    layout: str,
    *,
    classes: Sequence[str] = (),
    response_format: str = "loc_tokens",
    revision: str | None = None,
) -> Path:
    """Load a run directory or any checkpoint that can be loaded, and write it in another layout.

    The new folder is a run directory, ready for ``predict``, if the source is one or ``classes`` are given.

    Args:
        source: as for training's ``model_name_or_path``.
        output: a new or empty folder.
        layout: ``native`` for Transformers, ``original`` for Microsoft's and the published LMMRotate's code.
        classes: what the model was trained to find, in the order of its training; for checkpoints that do
            not say it.
        response_format: how it writes boxes.
        revision: branch, tag or commit on the hub.

    Raises:
        ConfigError: if ``output`` is not empty, or classes are given for a run that has its own.
        CheckpointError: if the source cannot be loaded.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"output: {output} exists and is not empty; choose another folder")
    folder = model_path(source)
    info = None
    if (folder / RUN_FILE).exists():
        info = read_run(folder)
        if info.detector:
            raise ConfigError(f"{source}: holds a baseline detector, which has one layout only")
        if classes:
            raise ConfigError(f"classes: {source} is a run directory and has a class list of its own")
    codec = codec_from_json(info.codec) if info else make_codec(response_format, classes) if classes else None
    family = load_family(
        source,
        tokens=codec.special_tokens if codec else (),
        prompt=info.prompt if info else PUBLISHED_PROMPT,
        system_prompt=info.system_prompt if info else "",
        revision=revision,
    )
    family.save(output, layout)
    if codec:
        info = info or RunInfo(
            codec=codec.to_json(),
            prompt=PUBLISHED_PROMPT,
            image_square_length=family.image_square_length,
            versions=installed_versions(),
        )
        replace(info, weights=weights_digest(output)).write(output)
    return output
