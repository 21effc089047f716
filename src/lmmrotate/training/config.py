"""Training options."""

from __future__ import annotations

from dataclasses import dataclass

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
        "tiny (comes with the package), tiny-random, base or large (random weights), a checkpoint or run "
        "directory, or a hub id",
    )
    model_revision: str | None = option(None, "branch, tag or commit on the hub")
    image_square_length: int | None = option(
        None, "side in pixels that images are resized to (default: the model's own)"
    )
    language_model_max_length: int | None = option(
        None, "longest answer in tokens (default: what the model has positions for)"
    )
    response_format: str = option("loc_tokens", "how boxes are written")
    prompt: str = option(PUBLISHED_PROMPT, "what the model is asked about every image")
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
    num_train_epochs: float = option(50.0, "passes over the data")
    max_steps: int = option(-1, "weight updates; above 0 it replaces num_train_epochs")
    per_device_train_batch_size: int = option(8, "images a device and step")
    gradient_accumulation_steps: int = option(
        1, "steps a weight update; images an update = batch size x accumulation x devices"
    )
    learning_rate: float = option(2e-5, "peak learning rate of AdamW")
    warmup_ratio: float = option(0.03, "share of the updates in which it rises; it then falls as a cosine")
    weight_decay: float = option(0.0, "AdamW's weight decay")
    max_grad_norm: float = option(1.0, "gradients longer than this are shortened")
    precision: str = option("auto", "auto (bf16 where the GPU has it, else fp32), fp32, bf16 or fp16")
    seed: int = option(0, "random seed")
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
        check_mixing(len(self.data_path), self.dataset_mode, self.dataset_weights)
        check_above(self, "per_device_train_batch_size", "gradient_accumulation_steps", "save_steps",
                    "save_total_limit", "logging_steps", "num_train_epochs", "learning_rate")  # fmt: skip
        check_not_negative(self, "weight_decay", "max_grad_norm", "dataloader_num_workers",
                           "location_smoothing")  # fmt: skip
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


INCIDENTAL = ("output_dir", "logging_steps", "save_steps", "save_total_limit", "dataloader_num_workers")
"""Options that do not change what is learned, so that an interrupted run may go on with others."""
