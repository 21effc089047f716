"""From a name to a model: presets, run directories, Transformers checkpoints, hub ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmmrotate.assets import TINY, model_path
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.prompts import PUBLISHED_PROMPT

MODEL_TYPES = ("florence2",)
"""``model_type`` values of Transformers configs that a family is written for."""

PRESET_NAMES = ("tiny-random", "base", "large")
"""Shapes without weights."""


def load_family(
    model_name_or_path: str,
    *,
    tokens: Sequence[str],
    words: Sequence[str] = (),
    prompt: str = PUBLISHED_PROMPT,
    image_square_length: int | None = None,
    language_model_max_length: int | None = None,
    revision: str | None = None,
) -> ModelFamily:
    """Build or load a model and make sure its vocabulary holds the codec's tokens.

    Args:
        model_name_or_path: ``tiny`` for the embedded model, ``tiny-random``, ``base`` or ``large`` for
            random weights of that shape, a local directory (a run directory or any Transformers-native
            checkpoint), or a hub id.
        tokens: the codec's coordinate and separator tokens.
        words: class names, which become one token each in ``tiny`` and in presets.
        prompt: what the model is asked about every image.
        image_square_length: side in pixels to resize images to; default: the checkpoint's own.
        language_model_max_length: positions of a preset's language model.
        revision: branch, tag or commit on the hub.

    Raises:
        CheckpointError: if nothing loadable is there, or its model type is not supported.
        ConfigError: if the model has too few positions for the image size.
    """
    from safetensors import SafetensorError

    from lmmrotate.models.florence2 import Florence2Family

    if image_square_length is not None and image_square_length < 16:
        raise ConfigError(f"image_square_length must be at least 16, got {image_square_length}")
    if model_name_or_path in PRESET_NAMES:
        return Florence2Family.from_preset(
            model_name_or_path,
            tokens=tokens,
            words=words,
            prompt=prompt,
            image_square_length=image_square_length,
            language_model_max_length=language_model_max_length,
        )

    embedded = model_name_or_path == TINY
    source = str(model_path(TINY)) if embedded else model_name_or_path
    _check_checkpoint(source, revision)
    try:
        family = Florence2Family.load(
            source, prompt=prompt, image_square_length=image_square_length, revision=revision
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{model_name_or_path}: cannot be loaded: {_first_line(error)}") from error
    family.add_tokens([*tokens, *words] if embedded else tokens)
    return family


def _check_checkpoint(name: str, revision: str | None) -> None:
    folder = Path(name)
    if folder.is_dir():
        config = _local_config(folder)
    elif folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"{name}: no such directory; give a run directory, a Transformers checkpoint, "
            f"a hub id (owner/name) or one of {', '.join((TINY, *PRESET_NAMES))}"
        )
    else:
        config = _hub_config(name, revision)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f"{name}: model type {model_type!r} is not supported; supported: {', '.join(MODEL_TYPES)}"
        )
    if "auto_map" in config or config.get("text_config", {}).get("model_type") == "florence2_language":
        raise CheckpointError(
            f"{name}: this is an original Florence-2 checkpoint that needs remote code; "
            "use a Transformers-native one such as florence-community/Florence-2-base"
        )


def _local_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: holds no config.json; is training still running? Finished runs and "
            "their checkpoints/checkpoint-* folders can be loaded"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return config if isinstance(config, dict) else {}


def _hub_config(name: str, revision: str | None) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: not found locally or on the hub: {_first_line(error)}") from error
    return dict(config)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
