"""Training options."""

from __future__ import annotations

from dataclasses import dataclass

from lmmrotate.data.augment import Augmentation
from lmmrotate.data.mixing import check_mixing
from lmmrotate.errors import ConfigError
from lmmrotate.models.prompts import PUBLISHED_PROMPT
from lmmrotate.training.options import (
    check_above,
    check_common,
    check_not_negative,
    check_one_of,
    option,
    require,
)

OVER_LONG = ("drop_boxes", "skip", "error")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
EVAL_METRICS = ("mF1", "mAP", "mAP_nc")
TRACKERS = ("tensorboard", "wandb", "none")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything one training run depends on; stored in the run directory.

    Names follow the published system where it has the option, Transformers' ``TrainingArguments``
    otherwise.
    """

    data_path: tuple[str, ...] = option((), "manifests to train on; several must share one class list")
    output_dir: str = option("", "the run directory to write")
    image_folder: tuple[str, ...] = option(
        (), "image folders, one a manifest (default: beside each manifest)"
    )
    dataset_mode: str = option(
        "concat",
        "several manifests: concat (every image once an epoch) or balanced concat (the same number from "
        "each); single for one",
    )
    dataset_weights: tuple[float, ...] = option(
        (), "with balanced concat, shares of the manifests in an epoch (default: equal)"
    )
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
    augment_flip: bool = option(False, "mirror training images, left to right and top to bottom")
    augment_turn: bool = option(False, "turn them by quarters")
    augment_rotation_deg: float = option(0.0, "turn them by any angle up to this")
    augment_scale: float = option(0.0, "enlarge or reduce them by up to 1 + this")
    augment_colour: float = option(0.0, "share of them that get other light, colours, noise and sharpness")
    num_train_epochs: float = option(50.0, "passes over the data")
    max_steps: int = option(-1, "weight updates; above 0 it replaces num_train_epochs")
    per_device_train_batch_size: int = option(8, "images a device and step")
    gradient_accumulation_steps: int = option(
        1, "steps a weight update; images an update = batch size x accumulation x devices"
    )
    effective_batch_size: int | None = option(
        None,
        "images an update over all devices; sets gradient_accumulation_steps, so that one recipe fits any "
        "number of devices",
    )
    group_by_length: bool = option(False, "put answers of like length into one update: less padding")
    packing: bool = option(
        False,
        "chat models: a batch's images and answers in one sequence, without padding or sight of each other",
    )
    gradient_checkpointing: bool = option(
        False, "compute activations twice instead of keeping them: less memory"
    )
    learning_rate: float = option(2e-5, "peak learning rate of AdamW")
    warmup_ratio: float = option(0.03, "share of the updates in which it rises; it then falls as a cosine")
    weight_decay: float = option(0.0, "AdamW's weight decay")
    max_grad_norm: float = option(1.0, "gradients longer than this are shortened")
    precision: str = option("auto", "auto (bf16 where the GPU has it, else fp32), fp32, bf16 or fp16")
    deepspeed: str | None = option(None, "DeepSpeed configuration (JSON); recipes/deepspeed has some")
    seed: int = option(0, "random seed")
    eval_data_path: tuple[str, ...] = option(
        (), "manifests to validate on, by writing answers as predict does"
    )
    eval_image_folder: tuple[str, ...] = option((), "their image folders (default: beside each manifest)")
    eval_images: int = option(200, "images of them, spread evenly; 0 for all")
    eval_metric: str = option("mF1", "mF1, mAP or mAP_nc; what the best checkpoint is chosen by")
    eval_intermediate_checkpoints: bool = option(
        True, "validate every checkpoint and end with the best; else only the last weights are validated"
    )
    early_stopping_patience: int = option(
        0, "stop after so many checkpoints without a better one; 0 trains to the end"
    )
    report_to: tuple[str, ...] = option(
        (), "tensorboard, wandb or none (default: tensorboard where it is installed)"
    )
    save_steps: int = option(500, "updates between checkpoints")
    save_total_limit: int = option(2, "checkpoints kept; older ones are deleted")
    logging_steps: int = option(10, "updates between log lines")
    dataloader_num_workers: int = option(0, "processes that read images; 0 reads in the training process")

    def __post_init__(self) -> None:
        require(self, "data_path", "output_dir")
        if self.image_folder and len(self.image_folder) != len(self.data_path):
            raise ConfigError(
                f"image_folder: {len(self.image_folder)} folders for {len(self.data_path)} manifests; "
                "give one a manifest, or none"
            )
        if self.eval_image_folder and len(self.eval_image_folder) != len(self.eval_data_path):
            raise ConfigError(
                f"eval_image_folder: {len(self.eval_image_folder)} folders for {len(self.eval_data_path)} "
                "manifests; give one a manifest, or none"
            )
        check_mixing(len(self.data_path), self.dataset_mode, self.dataset_weights)
        check_above(self, "per_device_train_batch_size", "gradient_accumulation_steps", "save_steps",
                    "save_total_limit", "logging_steps", "num_train_epochs", "learning_rate",
                    "lora_rank", "lora_alpha")  # fmt: skip
        check_not_negative(self, "weight_decay", "max_grad_norm", "dataloader_num_workers",
                           "location_smoothing", "eval_images", "early_stopping_patience")  # fmt: skip
        check_common(self)
        if not 0 <= self.warmup_ratio < 1:
            raise ConfigError(
                f"warmup_ratio is a share of the updates, from 0 to below 1, got {self.warmup_ratio}"
            )
        for name, least in (("image_square_length", 16), ("language_model_max_length", 16)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        check_one_of("over_long", self.over_long, OVER_LONG)
        check_one_of("precision", self.precision, PRECISIONS)
        check_one_of("eval_metric", self.eval_metric, EVAL_METRICS)
        for name in self.report_to:
            check_one_of("report_to", name, TRACKERS)
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"lora_dropout must be from 0 to below 1, got {self.lora_dropout}")
        if self.language_model_lora and self.freeze_language:
            raise ConfigError(
                "freeze_language and language_model_lora exclude each other: adapters are training"
            )
        if self.load_in_4bit and not self.language_model_lora:
            raise ConfigError("load_in_4bit needs language_model_lora: frozen weights alone learn nothing")
        if self.early_stopping_patience and not (self.eval_data_path and self.eval_intermediate_checkpoints):
            raise ConfigError(
                "early_stopping_patience needs eval_data_path, and eval_intermediate_checkpoints left on"
            )
        if self.effective_batch_size is not None and self.gradient_accumulation_steps != 1:
            raise ConfigError("effective_batch_size sets gradient_accumulation_steps; give one of them")
        if self.effective_batch_size is not None and self.effective_batch_size < 1:
            raise ConfigError(f"effective_batch_size must be above 0, got {self.effective_batch_size}")
        self.augmentation  # noqa: B018 - refuses impossible numbers

    @property
    def augmentation(self) -> Augmentation:
        """How training images are changed."""
        return Augmentation(
            self.augment_flip,
            self.augment_turn,
            self.augment_rotation_deg,
            self.augment_scale,
            self.augment_colour,
        )


INCIDENTAL = ("output_dir", "logging_steps", "save_steps", "save_total_limit", "dataloader_num_workers",
              "gradient_checkpointing", "report_to")  # fmt: skip
"""Options that do not change what is learned, so that an interrupted run may go on with others."""
