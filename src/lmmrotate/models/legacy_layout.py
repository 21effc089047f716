"""The layout of original Florence-2 checkpoints, and of LMMRotate's, against the Transformers-native one.

Original checkpoints (``microsoft/Florence-2-*``) were written by modelling code that came with them; the
published LMMRotate vendors that code and grows its position tables. Weights are the same numbers under other
names, but for ``image_projection``, which is multiplied from the other side. Names and settings on the
original side are those of the recorded checkpoint ``golden/j_tiny_florence2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from lmmrotate.errors import CheckpointError

Weights = dict[str, torch.Tensor]
Settings = dict[str, Any]

_PROJECTION = "image_projection"
_BIAS = "language_model.final_logits_bias"
_SHARED = "language_model.model.shared.weight"
TIED = (
    "language_model.model.encoder.embed_tokens.weight",
    "language_model.model.decoder.embed_tokens.weight",
    "language_model.lm_head.weight",
)
"""Copies of the shared embedding table, which checkpoints may hold or leave out."""

HEAD_BIAS = "lm_head.bias"
"""Native name of the bias on the output logits, where a checkpoint has one."""

_PARTS = (
    ("image_pos_embed.", "model.multi_modal_projector.image_position_embed."),
    ("image_proj_norm.", "model.multi_modal_projector.image_proj_norm."),
    ("visual_temporal_embed.", "model.multi_modal_projector.visual_temporal_embed."),
    ("language_model.model.", "model.language_model."),
    ("vision_tower.", "model.vision_tower."),
)
_VISION = (
    (".conv1.fn.dw.", ".conv1."),
    (".conv2.fn.dw.", ".conv2."),
    (".window_attn.norm.", ".norm1."),
    (".channel_attn.norm.", ".norm1."),
    (".window_attn.fn.", ".window_attn."),
    (".channel_attn.fn.", ".channel_attn."),
    (".ffn.norm.", ".norm2."),
    (".ffn.fn.net.", ".ffn."),
)
_STEM = (re.compile(r"(vision_tower\.convs\.\d+)\.proj\."), re.compile(r"(vision_tower\.convs\.\d+)\.conv\."))

_SAME_VISION = ("depths", "drop_path_rate", "num_groups", "num_heads", "patch_padding", "patch_prenorm",
                "patch_size", "patch_stride", "projection_dim", "window_size")  # fmt: skip
_TEXT = ("activation_dropout", "activation_function", "attention_dropout", "bos_token_id",
         "classifier_dropout", "d_model", "decoder_attention_heads", "decoder_ffn_dim", "decoder_layerdrop",
         "decoder_layers",
         "decoder_start_token_id", "dropout", "encoder_attention_heads", "encoder_ffn_dim",
         "encoder_layerdrop", "encoder_layers", "eos_token_id", "init_std", "is_encoder_decoder",
         "max_position_embeddings", "pad_token_id", "scale_embedding", "use_cache", "vocab_size")  # fmt: skip
_GENERATION = ("early_stopping", "forced_bos_token_id", "forced_eos_token_id", "length_penalty",
               "no_repeat_ngram_size", "num_beams", "repetition_penalty")  # fmt: skip
_IMAGE_FEATURES = ["spatial_avg_pool", "temporal_avg_pool"]


def is_original(config: Mapping[str, Any]) -> bool:
    """Whether ``config.json`` belongs to a checkpoint in the original layout."""
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    return (
        config.get("model_type") == "florence2"
        and "d_model" in text
        and (text.get("model_type") == "florence2_language" or "dim_embed" in vision)
    )


def native_settings(config: Mapping[str, Any], image_token_id: int) -> Settings:
    """Keyword arguments of ``Florence2Config`` from an original ``config.json``.

    Raises:
        CheckpointError: for a variant that the native classes cannot express.
    """
    vision, text = config["vision_config"], config["text_config"]
    features = vision.get("image_feature_source", _IMAGE_FEATURES)
    if list(features) != _IMAGE_FEATURES:
        raise CheckpointError(f"image_feature_source is {features}; supported: {_IMAGE_FEATURES}")
    return {
        "vision_config": {key: vision[key] for key in _SAME_VISION if key in vision}
        | {
            "embed_dim": vision["dim_embed"],
            "max_position_embeddings": vision["image_pos_embed"]["max_pos_embeddings"],
            "max_temporal_embeddings": vision["visual_temporal_embedding"]["max_temporal_embeddings"],
        },
        "text_config": {"model_type": "bart", "forced_eos_token_id": None}
        | {key: text[key] for key in _TEXT if key in text},
        "image_token_id": image_token_id,
    } | {key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in text}


def generation_settings(config: Mapping[str, Any]) -> Settings:
    """How the original code generates by default: settings that it keeps in ``text_config``."""
    text = config["text_config"]
    return {key: text[key] for key in _GENERATION if text.get(key) is not None}


def original_settings(config: Mapping[str, Any], generation: Mapping[str, Any]) -> Settings:
    """An original ``config.json`` from a native one (as ``Florence2Config.to_dict`` gives it)."""
    vision, text = config["vision_config"], config["text_config"]
    tokens = {key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return tokens | {
        "architectures": ["Florence2ForConditionalGeneration"],
        "model_type": "florence2",
        "is_encoder_decoder": True,
        "ignore_index": -100,
        "projection_dim": vision["projection_dim"],
        "vocab_size": text["vocab_size"],
        "torch_dtype": "float32",
        "text_config": {"model_type": "florence2_language", "num_hidden_layers": text["encoder_layers"]}
        | {key: text[key] for key in _TEXT if key in text}
        | {key: generation[key] for key in _GENERATION if generation.get(key) is not None},
        "vision_config": {"model_type": "davit", "enable_checkpoint": False}
        | {key: _plain(vision[key]) for key in _SAME_VISION}
        | {
            "dim_embed": _plain(vision["embed_dim"]),
            "image_feature_source": _IMAGE_FEATURES,
            "image_pos_embed": {
                "type": "learned_abs_2d",
                "max_pos_embeddings": vision["max_position_embeddings"],
            },
            "visual_temporal_embedding": {
                "type": "COSINE",
                "max_temporal_embeddings": vision["max_temporal_embeddings"],
            },
        },
    }


def native_weights(original: Mapping[str, torch.Tensor]) -> Weights:
    """The weights under their native names, float32, one embedding table.

    The bias on the output logits, 0 in every published checkpoint, is kept as ``HEAD_BIAS`` only where it is
    not 0: the native head has none.
    """
    weights = {
        _native_name(name): tensor.float()
        for name, tensor in original.items()
        if name not in (_BIAS, _PROJECTION, *TIED)
    }
    shared = next((original[name] for name in (_SHARED, *TIED) if name in original), None)
    if shared is not None:
        weights[_native_name(_SHARED)] = shared.float()
    bias = original.get(_BIAS)
    if bias is not None and bool(bias.count_nonzero()):
        weights[HEAD_BIAS] = bias.float().flatten()
    if _PROJECTION in original:
        projection = original[_PROJECTION].float().T.contiguous()
        weights["model.multi_modal_projector.image_projection.weight"] = projection
    return weights


def original_weights(native: Mapping[str, torch.Tensor]) -> Weights:
    """The weights under their original names; copies of the embedding table (``TIED``) are left out."""
    weights: Weights = {}
    for name, tensor in native.items():
        if name == "model.multi_modal_projector.image_projection.weight":
            weights[_PROJECTION] = tensor.T.contiguous()
        elif not name.startswith("lm_head.") and not name.endswith("embed_tokens.weight"):
            weights[_original_name(name)] = tensor.contiguous()
    weights[_BIAS] = native.get(HEAD_BIAS, torch.zeros(len(weights[_SHARED])))[None]
    return weights


def _native_name(name: str) -> str:
    for original, native in _VISION if name.startswith("vision_tower.blocks.") else ():
        name = name.replace(original, native)
    name = _STEM[0].sub(r"\1.conv.", name)
    for original, native in _PARTS:
        if name.startswith(original):
            return native + name.removeprefix(original)
    return name


def _original_name(name: str) -> str:
    for original, native in _PARTS:
        if name.startswith(native):
            name = original + name.removeprefix(native)
            break
    name = _STEM[1].sub(r"\1.proj.", name)
    if not name.startswith("vision_tower.blocks."):
        return name
    attention = ".window_attn" if ".spatial_block." in name else ".channel_attn"
    for part, original in (
        (".norm1.", f"{attention}.norm."),
        (".norm2.", ".ffn.norm."),
        (f"{attention}.qkv.", f"{attention}.fn.qkv."),
        (f"{attention}.proj.", f"{attention}.fn.proj."),
        (".conv1.", ".conv1.fn.dw."),
        (".conv2.", ".conv2.fn.dw."),
        (".ffn.fc", ".ffn.fn.net.fc"),
    ):
        if part in name:
            return name.replace(part, original)
    return name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
