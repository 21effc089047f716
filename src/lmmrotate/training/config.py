"""Training options of models that write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmmrotate.errors import ConfigError
from lmmrotate.models.prompts import PUBLISHED_PROMPT
from lmmrotate.training.options import check_above, check_not_negative, check_one_of, option
from lmmrotate.training.run_config import RunConfig

OVER_LONG = ("drop_boxes", "skip", "error")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Everything one training run depends on; see ``RunConfig``."""

    model_name_or_path: str = option(
        "tiny",
        "tiny (comes with the package), tiny-random, base, large or tiny-<model_type> (random weights), a "
        "checkpoint or run directory, or a hub id",
    )
    model_type: str | None = option(
        None, "florence2, qwen2_5_vl, …; refused where the checkpoint is another (default: its own)"
    )
    model_revision: str | None = option(None, "branch, tag or commit on the hub")
    attn_implementation: str = option("sdpa", "sdpa, eager, or flash_attention_2 where it is installed")
    image_square_length: int | None = option(
        None,
        "side in pixels that images are resized to; for models that keep an image's size, of the largest "
        "square that is not reduced (default: the model's own)",
    )
    min_pixels: int | None = option(
        None, "chat models: smaller images are enlarged to so many pixels (default: the model's own)"
    )
    max_pixels: int | None = option(
        None, "chat models: larger images are reduced to so many pixels (default: the model's own)"
    )
    language_model_max_length: int | None = option(
        None,
        "longest answer in tokens; a model with fewer positions grows (default: what it has positions for)",
    )
    freeze_vision: bool = option(False, "do not train the vision tower")
    freeze_multimodal_projection: bool = option(False, "do not train the layer between vision and language")
    freeze_language: bool = option(False, "do not train the language model")
    freeze_old_positions: bool = option(
        False, "of grown position tables train the new rows only, as the published system does"
    )
    language_model_lora: bool = option(
        False, "train low-rank adapters (PEFT) instead of the language model's weights; saved merged"
    )
    load_in_4bit: bool = option(
        False, "with adapters, keep the language model's frozen weights in 4 bits (QLoRA; needs bitsandbytes)"
    )
    lora_rank: int = option(16, "rank of the adapters")
    lora_alpha: int = option(32, "their weight is alpha / rank")
    lora_dropout: float = option(0.05, "share of their inputs left out in training")
    response_format: str = option(
        "loc_tokens", "how boxes are written: loc_tokens (florence2), rbox, allseeing, plain or json"
    )
    prompt: str = option(PUBLISHED_PROMPT, "what the model is asked about every image")
    system_prompt: str = option(
        "", "chat models: what is said before the prompt (default: the template's own)"
    )
    over_long: str = option(
        "drop_boxes",
        "an answer that does not fit: drop_boxes (the last ones), skip the image, or error; counted",
    )
    location_smoothing: float = option(
        0.0, "bins; above 0, location tokens are taught as a Gaussian of this width over neighbouring bins"
    )
    cell_loss: bool = option(
        False, "also teach the encoder's cell at an object's centre to tell the object's coordinates"
    )
    group_by_length: bool = option(False, "put answers of like length into one update: less padding")
    packing: bool = option(
        False,
        "chat models: a batch's images and answers in one sequence, without padding or sight of each other",
    )
    gradient_checkpointing: bool = option(
        False, "compute activations twice instead of keeping them: less memory"
    )
    warmup_ratio: float = option(0.03, "share of the updates in which it rises; it then falls as a cosine")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above(self, "lora_rank", "lora_alpha")
        check_not_negative(self, "location_smoothing")
        if not 0 <= self.warmup_ratio < 1:
            raise ConfigError(
                f"warmup_ratio is a share of the updates, from 0 to below 1, got {self.warmup_ratio}"
            )
        for name, least in (("image_square_length", 16), ("language_model_max_length", 16)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        check_one_of("over_long", self.over_long, OVER_LONG)
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"lora_dropout must be from 0 to below 1, got {self.lora_dropout}")
        if self.language_model_lora and self.freeze_language:
            raise ConfigError(
                "freeze_language and language_model_lora exclude each other: adapters are training"
            )
        if self.load_in_4bit and not self.language_model_lora:
            raise ConfigError("load_in_4bit needs language_model_lora: frozen weights alone learn nothing")

    @property
    def whole_weights(self) -> Sequence[str]:
        return (*super().whole_weights, "language_model_lora", "freeze_old_positions")
