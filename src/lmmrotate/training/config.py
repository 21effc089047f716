"""Training options: one frozen dataclass, read from YAML, every key checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from lmmrotate.errors import ConfigError
from lmmrotate.models.prompts import PUBLISHED_PROMPT

OVER_LONG = ("drop_boxes", "skip", "error")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def _option(default: Any, text: str) -> Any:
    """A field with its default and the one line that ``train --help`` and the docs say about it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything one training run depends on; stored in the run directory.

    Names follow the published system where it has the option, Transformers' ``TrainingArguments``
    otherwise.
    """

    data_path: tuple[str, ...] = _option((), "manifests to train on; several must share one class list")
    output_dir: str = _option("", "the run directory to write")
    image_folder: tuple[str, ...] = _option(
        (), "image folders, one a manifest (default: beside each manifest)"
    )
    model_name_or_path: str = _option(
        "tiny", "tiny, base or large (random weights), a checkpoint or run directory, or a hub id"
    )
    model_revision: str | None = _option(None, "branch, tag or commit on the hub")
    image_square_length: int | None = _option(
        None, "side in pixels that images are resized to (default: the model's own)"
    )
    language_model_max_length: int | None = _option(
        None, "longest answer in tokens (default: what the model has positions for)"
    )
    response_format: str = _option("loc_tokens", "how boxes are written")
    prompt: str = _option(PUBLISHED_PROMPT, "what the model is asked about every image")
    over_long: str = _option(
        "drop_boxes",
        "an answer that does not fit: drop_boxes (the last ones), skip the image, or error; counted",
    )
    num_train_epochs: float = _option(50.0, "passes over the data")
    max_steps: int = _option(-1, "weight updates; above 0 it replaces num_train_epochs")
    per_device_train_batch_size: int = _option(8, "images a device and step")
    gradient_accumulation_steps: int = _option(
        1, "steps a weight update; images an update = batch size x accumulation x devices"
    )
    learning_rate: float = _option(2e-5, "peak learning rate of AdamW")
    warmup_ratio: float = _option(0.03, "share of the updates in which it rises; it then falls as a cosine")
    weight_decay: float = _option(0.0, "AdamW's weight decay")
    max_grad_norm: float = _option(1.0, "gradients longer than this are shortened")
    precision: str = _option("auto", "auto (bf16 where the GPU has it, else fp32), fp32, bf16 or fp16")
    seed: int = _option(0, "random seed")
    save_steps: int = _option(500, "updates between checkpoints")
    save_total_limit: int = _option(2, "checkpoints kept; older ones are deleted")
    logging_steps: int = _option(10, "updates between log lines")
    dataloader_num_workers: int = _option(0, "processes that read images; 0 reads in the training process")

    def __post_init__(self) -> None:
        for name in ("data_path", "output_dir"):
            if not getattr(self, name):
                raise ConfigError(f"{name} must be given")
        if self.image_folder and len(self.image_folder) != len(self.data_path):
            raise ConfigError(
                f"image_folder: {len(self.image_folder)} folders for {len(self.data_path)} manifests; "
                "give one a manifest, or none"
            )
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "save_steps",
                     "save_total_limit", "logging_steps", "num_train_epochs", "learning_rate"):  # fmt: skip
            if not getattr(self, name) > 0:  # so written, NaN is refused too
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "max_grad_norm", "dataloader_num_workers"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float) and not isfinite(value):
                raise ConfigError(f"{f.name} must be a finite number, got {value}")
            if "\0" in str(value):
                raise ConfigError(f"{f.name} contains a null byte")
        if not 0 <= self.warmup_ratio < 1:
            raise ConfigError(
                f"warmup_ratio is a share of the updates, from 0 to below 1, got {self.warmup_ratio}"
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be from 0 to {2**32 - 1}, got {self.seed}")
        for name, least in (("image_square_length", 16), ("language_model_max_length", 16)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        _one_of("over_long", self.over_long, OVER_LONG)
        _one_of("precision", self.precision, PRECISIONS)


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ConfigError(f"{name} is {value!r}; valid: {', '.join(valid)}")


def read_config(path: Path | None, overrides: Mapping[str, Any]) -> TrainConfig:
    """Read a YAML file (or none) and lay ``overrides`` (flags) over it.

    Raises:
        ConfigError: for a file that cannot be read, unknown keys (with the valid ones), missing keys
            and values of the wrong type.
    """
    values: dict[str, Any] = {}
    where = "options"
    if path is not None:
        where = str(path)
        values = _read_yaml(path)
    return config_from_mapping(values | dict(overrides), where)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(values).__name__}")
    return values


def config_from_mapping(values: Mapping[str, Any], where: str) -> TrainConfig:
    """Build a ``TrainConfig``; ``where`` begins every error message."""
    types = get_type_hints(TrainConfig)
    unknown = sorted(str(key) for key in values if key not in types)
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}; valid: {', '.join(sorted(types))}")
    return TrainConfig(
        **{key: _coerce(types[key], value, f"{where}: {key}") for key, value in values.items()}
    )


def _coerce(wanted: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type; YAML reads 2e-5 as text and a lone path as no list."""
    if get_origin(wanted) in (Union, UnionType):
        if value is None:
            return None
        wanted = next(t for t in get_args(wanted) if t is not NoneType)
    if get_origin(wanted) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_coerce(str, item, where) for item in items)
    if wanted is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    elif wanted is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    elif isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} must be {wanted.__name__}, found {value!r}")


def config_to_yaml(config: TrainConfig) -> str:
    """The options as a YAML file that ``read_config`` reads back."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


INCIDENTAL = ("output_dir", "logging_steps", "save_steps", "save_total_limit", "dataloader_num_workers")
"""Options that do not change what is learned, so that an interrupted run may go on with others."""


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """``name: old -> new`` for every option that changes what is learned."""
    return [
        f"{f.name}: {getattr(old, f.name)} -> {getattr(new, f.name)}"
        for f in fields(new)
        if f.name not in INCIDENTAL and getattr(old, f.name) != getattr(new, f.name)
    ]
