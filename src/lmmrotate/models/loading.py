"""From a name to a model: presets, run directories, Transformers checkpoints, hub ids."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmmrotate.assets import TINY, model_path
from lmmrotate.errors import CheckpointError, ConfigError, first_line
from lmmrotate.models.base import FamilyOptions, ModelFamily
from lmmrotate.models.hub import checkpoint_config

FAMILIES = {
    "florence2": "florence2.Florence2Family",
    "internvl": "internvl.InternVLFamily",
    "llava_onevision": "llava_onevision.LlavaOnevisionFamily",
    "paligemma": "paligemma.PaliGemmaFamily",
    "qwen2_vl": "qwen_vl.Qwen2VLFamily",
    "qwen2_5_vl": "qwen_vl.Qwen25VLFamily",
    "qwen3_vl": "qwen_vl.Qwen3VLFamily",
}
"""``model_type`` of Transformers configs, and the module and class here that are written for it."""

MODEL_TYPES = tuple(FAMILIES)

_FLORENCE2_PRESETS = ("tiny-random", "base", "large")
_TINY = "tiny-"

PRESET_NAMES = (*_FLORENCE2_PRESETS, *(_TINY + name for name in MODEL_TYPES if name != "florence2"))
"""Shapes without weights."""

ATTENTION = ("sdpa", "eager", "flash_attention_2")
"""Values of ``attn_implementation``, as Transformers names them."""


def load_family(
    model_name_or_path: str,
    *,
    tokens: Sequence[str],
    words: Sequence[str] = (),
    revision: str | None = None,
    **options: Any,
) -> ModelFamily:
    """Build or load a model and make sure its vocabulary holds the codec's tokens.

    Args:
        model_name_or_path: ``tiny`` for the embedded model, one of ``PRESET_NAMES`` for random weights of
            that shape, a local directory (a run directory, a Transformers-native checkpoint, an original
            Florence-2 or a published LMMRotate one), or a hub id.
        tokens: the codec's coordinate and separator tokens.
        words: class names, which become one token each in ``tiny`` and in presets.
        revision: branch, tag or commit on the hub.
        options: fields of ``FamilyOptions``.

    Raises:
        CheckpointError: if nothing loadable is there, or its model type is not supported.
        ConfigError: for options that the model does not have, or if flash attention is not installed.
    """
    from safetensors import SafetensorError

    settings = FamilyOptions(**options)
    settings.check()
    check_attention(settings.attn_implementation)
    if model_name_or_path in _FLORENCE2_PRESETS:
        preset: ModelFamily = family_class("florence2").from_preset(
            model_name_or_path, tokens, words, settings
        )
        return preset
    if model_name_or_path in PRESET_NAMES:
        small: ModelFamily = family_class(model_name_or_path.removeprefix(_TINY)).tiny(
            tokens, words, settings
        )
        return small

    embedded = model_name_or_path == TINY
    source = str(model_path(TINY)) if embedded else model_name_or_path
    config = checkpoint_config(source, (TINY, *PRESET_NAMES), revision)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f"{source}: model type {model_type!r} is not supported; supported: {', '.join(MODEL_TYPES)}"
        )
    try:
        family: ModelFamily = family_class(model_type).load(source, revision, settings)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{model_name_or_path}: cannot be loaded: {first_line(error)}") from error
    family.add_tokens([*tokens, *words] if embedded else tokens)
    return family


def family_class(model_type: str) -> Any:
    """The class that is written for a model type, which must be one of ``MODEL_TYPES``."""
    module, name = FAMILIES[model_type].split(".")
    return getattr(import_module(f"lmmrotate.models.{module}"), name)


def check_attention(implementation: str) -> None:
    """Raises ConfigError for an unknown implementation, and for one that is not installed."""
    if implementation not in ATTENTION:
        raise ConfigError(f"attn_implementation is {implementation!r}; valid: {', '.join(ATTENTION)}")
    if implementation == "flash_attention_2" and find_spec("flash_attn") is None:
        raise ConfigError(
            "attn_implementation flash_attention_2 needs a GPU and the package flash-attn "
            "(pip install flash-attn); sdpa needs nothing"
        )
