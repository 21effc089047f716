"""From a name to a model: presets, run directories, Transformers checkpoints, hub ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
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

ATTENTION = ("sdpa", "eager", "flash_attention_2")
"""Values of ``attn_implementation``, as Transformers names them."""


def load_family(
    model_name_or_path: str,
    *,
    tokens: Sequence[str],
    words: Sequence[str] = (),
    prompt: str = PUBLISHED_PROMPT,
    image_square_length: int | None = None,
    language_model_max_length: int | None = None,
    revision: str | None = None,
    attn_implementation: str = "sdpa",
) -> ModelFamily:
    """Build or load a model and make sure its vocabulary holds the codec's tokens.

    Args:
        model_name_or_path: ``tiny`` for the embedded model, ``tiny-random``, ``base`` or ``large`` for
            random weights of that shape, a local directory (a run directory, a Transformers-native
            checkpoint, an original Florence-2 or a published LMMRotate one), or a hub id.
        tokens: the codec's coordinate and separator tokens.
        words: class names, which become one token each in ``tiny`` and in presets.
        prompt: what the model is asked about every image.
        image_square_length: side in pixels to resize images to; default: the checkpoint's own.
        language_model_max_length: positions that the language model gets if it has fewer.
        revision: branch, tag or commit on the hub.
        attn_implementation: one of ``ATTENTION``.

    Raises:
        CheckpointError: if nothing loadable is there, or its model type is not supported.
        ConfigError: if flash attention is asked for and not installed.
    """
    from safetensors import SafetensorError

    from lmmrotate.models.florence2 import Florence2Family
    from lmmrotate.models.legacy_layout import is_original

    if image_square_length is not None and image_square_length < 16:
        raise ConfigError(f"image_square_length must be at least 16, got {image_square_length}")
    check_attention(attn_implementation)
    if model_name_or_path in PRESET_NAMES:
        return Florence2Family.from_preset(
            model_name_or_path,
            tokens=tokens,
            words=words,
            prompt=prompt,
            image_square_length=image_square_length,
            language_model_max_length=language_model_max_length,
            attn_implementation=attn_implementation,
        )

    embedded = model_name_or_path == TINY
    source = str(model_path(TINY)) if embedded else model_name_or_path
    options: dict[str, Any] = {
        "prompt": prompt,
        "image_square_length": image_square_length,
        "language_model_max_length": language_model_max_length,
        "attn_implementation": attn_implementation,
    }
    try:
        if is_original(checkpoint_config(source, revision)):
            family = Florence2Family.load_original(_local_folder(source, revision), **options)
        else:
            family = Florence2Family.load(source, revision=revision, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{model_name_or_path}: cannot be loaded: {_first_line(error)}") from error
    family.add_tokens([*tokens, *words] if embedded else tokens)
    return family


def check_attention(implementation: str) -> None:
    """Raises ConfigError for an unknown implementation, and for one that is not installed."""
    if implementation not in ATTENTION:
        raise ConfigError(f"attn_implementation is {implementation!r}; valid: {', '.join(ATTENTION)}")
    if implementation == "flash_attention_2" and find_spec("flash_attn") is None:
        raise ConfigError(
            "attn_implementation flash_attention_2 needs a GPU and the package flash-attn "
            "(pip install flash-attn); sdpa needs nothing"
        )


def checkpoint_config(name: str, revision: str | None = None) -> dict[str, Any]:
    """The ``config.json`` of a directory or hub id.

    Raises:
        CheckpointError: if there is none, or it is of a model type that is not supported.
    """
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
    return config


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


def _local_folder(name: str, revision: str | None) -> Path:
    """``name`` itself, or the folder to which the hub's files are downloaded; safetensors go before .bin."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    if not any(folder.glob("*.safetensors")):
        snapshot_download(name, revision=revision, allow_patterns=["pytorch_model*.bin"])
    return folder


def _hub_config(name: str, revision: str | None) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: not found locally or on the hub: {_first_line(error)}") from error
    return dict(config)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
