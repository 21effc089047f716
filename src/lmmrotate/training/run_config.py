"""Options that every kind of training has: data, batches, validation, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmmrotate.data.augment import Augmentation
from lmmrotate.data.mixing import check_mixing
from lmmrotate.errors import ConfigError
from lmmrotate.training.options import (
    check_above,
    check_common,
    check_not_negative,
    check_one_of,
    option,
    require,
)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
EVAL_METRICS = ("mF1", "mAP", "mAP_nc")
TRACKERS = ("tensorboard", "wandb", "none")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What one training run depends on, whatever is trained; stored in the run directory.

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
    learning_rate: float = option(2e-5, "peak learning rate of AdamW")
    weight_decay: float = option(0.0, "AdamW's weight decay")
    max_grad_norm: float = option(1.0, "gradients longer than this are shortened")
    precision: str = option("auto", "auto (bf16 where the GPU has it, else fp32), fp32, bf16 or fp16")
    deepspeed: str | None = option(None, "DeepSpeed configuration (JSON); recipes/deepspeed has some")
    seed: int = option(0, "random seed")
    eval_data_path: tuple[str, ...] = option((), "manifests to validate on, predicted as by predict")
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
                    "save_total_limit", "logging_steps", "num_train_epochs", "learning_rate")  # fmt: skip
        check_not_negative(self, "weight_decay", "max_grad_norm", "dataloader_num_workers",
                           "eval_images", "early_stopping_patience")  # fmt: skip
        check_common(self)
        check_one_of("precision", self.precision, PRECISIONS)
        check_one_of("eval_metric", self.eval_metric, EVAL_METRICS)
        for name in self.report_to:
            check_one_of("report_to", name, TRACKERS)
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
    def whole_weights(self) -> Sequence[str]:
        """Options that need whole weights on every device."""
        return ("eval_data_path",)

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
