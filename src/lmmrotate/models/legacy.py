"""Original Florence-2 checkpoints and LMMRotate's: read into native classes, written back.

No code of a checkpoint is ever run, and ``.bin`` files are read as tensors only. See ``legacy_layout`` for
what differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    Florence2Config,
    Florence2ForConditionalGeneration,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from lmmrotate.errors import CheckpointError, first_line
from lmmrotate.models.legacy_layout import (
    HEAD_BIAS,
    Settings,
    Weights,
    generation_settings,
    native_settings,
    native_weights,
    original_settings,
    original_weights,
)
from lmmrotate.models.preprocessing import SquareResize
from lmmrotate.models.vocabulary import SPECIALS, add_plain_tokens

IMAGE_TOKEN = "<mask>"
"""Stands for image features. The native layout wants a token for it and the original vocabulary has none
to spare; BART's mask occurs in no prompt and no answer, and a new row would change the output's shape."""

TASK_TOKENS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{bin}>" for bin in range(1000)),
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>"),
    *("<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>"),
    *("<region_to_desciption>", "</region_to_desciption>", "<proposal>", "</proposal>"),
    *("<poly>", "</poly>", "<and>"),
)
"""What the original processor adds to BART's vocabulary, in its order and spelling (golden j)."""


@dataclass(frozen=True, eq=False)
class OriginalCheckpoint:
    """A checkpoint in the original layout, in memory."""

    model: Florence2ForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    preprocess: SquareResize
    generation: Settings
    """How the original code generates by default."""


def read_original(folder: Path, attn_implementation: str = "sdpa") -> OriginalCheckpoint:
    """Read a checkpoint in the original layout, with weights in safetensors or ``.bin``, whole or in shards.

    Raises:
        CheckpointError: naming the file, for one that is missing or broken, and for weights that do not fit
            the config.
    """
    config = _read_json(folder / "config.json")
    tokenizer = _read_tokenizer(folder / "tokenizer.json")
    try:
        settings = Florence2Config(**native_settings(config, tokenizer.image_token_id))
        generation = generation_settings(config)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error} is missing or wrong") from error
    weights = native_weights(_read_weights(folder))
    bias = weights.pop(HEAD_BIAS, None)
    model, found = Florence2ForConditionalGeneration.from_pretrained(
        None,
        config=settings,
        state_dict=weights,
        dtype=torch.float32,
        attn_implementation=attn_implementation,
        ignore_mismatched_sizes=True,  # it would not say which
        output_loading_info=True,
    )
    for kind, what in (
        ("mismatched", "do not fit config.json"),
        ("missing", "are missing"),
        ("unexpected", "are unknown"),
    ):
        wrong = sorted(str(key) for key in found[f"{kind}_keys"])
        if wrong:
            raise CheckpointError(f"{folder}: {len(wrong)} weights {what}: {', '.join(wrong[:3])}")
    if bias is not None:
        attach_head_bias(model, bias)
    return OriginalCheckpoint(model, tokenizer, _read_preprocessing(folder), generation)


def write_original(
    model: Florence2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    preprocess: SquareResize,
    generation: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write what the original and the published LMMRotate code load: config, weights, vocabulary, processor.

    Settings of ``generation`` that are known go into the config, where that code looks for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = original_weights(model.state_dict())
    config = original_settings(model.config.to_dict(), generation)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", config)
    side, stride = preprocess.side_px, prod(model.config.vision_config.patch_stride)
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "Florence2Processor",
            "do_resize": True,
            "size": {"height": side, "width": side},
            "crop_size": {"height": side, "width": side},
            "do_center_crop": False,
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(preprocess.mean),
            "image_std": list(preprocess.std),
            "image_seq_length": 1 + (-(-side // stride)) ** 2,
        },
    )
    _write_tokenizer(tokenizer, folder)


def attach_head_bias(model: Florence2ForConditionalGeneration, bias: torch.Tensor) -> None:
    """Give the output head the bias that the native class leaves out; it is not trained."""
    model.lm_head.bias = nn.Parameter(bias, requires_grad=False)


def _read_weights(folder: Path) -> Weights:
    for name, load in (("model.safetensors", load_file), ("pytorch_model.bin", _load_bin)):
        index = folder / f"{name}.index.json"
        if (folder / name).exists():
            files = [name]
        elif index.exists():
            files = sorted({Path(shard).name for shard in _read_json(index)["weight_map"].values()})
        else:
            continue
        weights: Weights = {}
        for file in files:
            try:
                weights.update(load(folder / file))
            except (OSError, SafetensorError, RuntimeError, UnpicklingError, EOFError) as error:
                raise CheckpointError(f"{folder / file}: cannot be read: {first_line(error)}") from error
        return weights
    raise CheckpointError(f"{folder}: holds neither model.safetensors nor pytorch_model.bin")


def _load_bin(path: Path) -> Weights:
    weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _read_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer, whose task tokens are made ordinary ones: decoding must not skip coordinates."""
    body = _read_json(path)
    try:
        for token in body["added_tokens"]:
            token["special"] = token["content"] in SPECIALS
        body |= {"truncation": None, "padding": None}
        tokenizer = Tokenizer.from_str(json.dumps(body))
    except Exception as error:  # tokenizers raises nothing narrower
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(
            zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIALS, strict=True)
        ),
        cls_token="<s>",
        sep_token="</s>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        clean_up_tokenization_spaces=False,
    )
    add_plain_tokens(fast, TASK_TOKENS)
    return fast


def _write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Files for BartTokenizerFast of the Transformers versions that the published code pins."""
    body = json.loads(tokenizer.backend_tokenizer.to_str())
    known = {token["content"] for token in body["added_tokens"]}
    special = {*SPECIALS, *TASK_TOKENS} & known
    for token in body["added_tokens"]:
        token["special"] = token["content"] in special
    merges = [" ".join(m) if isinstance(m, list) else m for m in body["model"]["merges"]]
    body["model"]["merges"] = merges
    _write_json(folder / "tokenizer.json", body)
    _write_json(folder / "vocab.json", body["model"]["vocab"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token", "cls_token", "sep_token")
    roles = {name: getattr(tokenizer, name) for name in names}
    _write_json(
        folder / "tokenizer_config.json",
        roles
        | {
            "tokenizer_class": "BartTokenizer",
            "processor_class": "Florence2Processor",
            "add_prefix_space": False,
            "errors": "replace",
            "trim_offsets": True,
            "model_max_length": 1024,
            "clean_up_tokenization_spaces": False,
            "additional_special_tokens": [t for t in TASK_TOKENS if t in known],
            "added_tokens_decoder": {
                str(token["id"]): {key: value for key, value in token.items() if key != "id"}
                for token in body["added_tokens"]
            },
        },
    )
    _write_json(folder / "special_tokens_map.json", roles)


def _read_preprocessing(folder: Path) -> SquareResize:
    path = folder / "preprocessor_config.json"
    stored = _read_json(path)
    try:
        return SquareResize(
            int(stored["size"]["height"]), tuple(stored["image_mean"]), tuple(stored["image_std"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error} is missing or wrong") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
