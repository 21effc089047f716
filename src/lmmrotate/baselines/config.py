"""Training options of the baseline detectors."""

from __future__ import annotations

from dataclasses import dataclass

from lmmrotate.baselines.spec import ARCHITECTURES, BACKBONES, PADDINGS, DetectorSpec
from lmmrotate.errors import ConfigError
from lmmrotate.training.options import check_not_negative, check_one_of, option
from lmmrotate.training.run_config import RunConfig

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine")
_STAGES = 4


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(RunConfig):
    """Everything one training run of a detector depends on; defaults are those of MMRotate's
    ``schedule_1x`` for one GPU, but for the backbone, which is random and learned as a whole, and the
    precision."""

    arch: str = option("rotated_fcos", f"the detector: {' or '.join(ARCHITECTURES)}")
    backbone: str = option("resnet50", f"{', '.join(BACKBONES)}")
    backbone_weights: str | None = option(
        None,
        "pretrained weights: a file of torchvision's or timm's, or a directory or hub id in Transformers' "
        "layout, such as microsoft/resnet-50 (default: random)",
    )
    image_square_length: int = option(1024, "side in pixels of the square into which images are fitted")
    padding: str = option("mean", f"colour around images that are not square: {' or '.join(PADDINGS)}")
    channels: int = option(256, "channels of the feature pyramid and the head")
    stacked_convs: int = option(4, "layers of each of the head's two branches")
    frozen_stages: int = option(0, "stages of a pretrained backbone, with its stem, that are not trained")
    norm_eval: bool = option(False, "keep the statistics of a pretrained backbone's batch norms")
    skip_empty: bool = option(True, "leave images without objects out of training, as published")
    augment_flip: bool = option(True, "mirror training images, left to right and top to bottom")
    optimizer: str = option("sgd", f"{' or '.join(OPTIMIZERS)}")
    momentum: float = option(0.9, "of sgd")
    num_train_epochs: float = option(12, "passes over the data")
    per_device_train_batch_size: int = option(2, "images a device and step")
    learning_rate: float = option(0.0025, "peak learning rate, for 2 images an update")
    lr_schedule: str = option(
        "step", "step: a tenth after each of lr_drop_epochs; cosine: falls as a cosine to 0"
    )
    lr_drop_epochs: tuple[float, ...] = option((8.0, 11.0), "epochs after which it falls")
    warmup_steps: int = option(500, "updates in which it rises, from a third")
    weight_decay: float = option(1e-4, "weight decay")
    max_grad_norm: float = option(35.0, "gradients longer than this are shortened")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec(("object",))  # refuses impossible shapes
        check_one_of("optimizer", self.optimizer, OPTIMIZERS)
        check_one_of("lr_schedule", self.lr_schedule, SCHEDULES)
        check_not_negative(self, "warmup_steps")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must be from 0 to below 1, got {self.momentum}")
        if not 0 <= self.frozen_stages <= _STAGES:
            raise ConfigError(f"frozen_stages must be from 0 to {_STAGES}, got {self.frozen_stages}")
        if (self.frozen_stages or self.norm_eval) and not self.backbone_weights:
            raise ConfigError(
                "frozen_stages and norm_eval need backbone_weights: random ones have to be learned"
            )
        if any(epoch <= 0 for epoch in self.lr_drop_epochs):
            raise ConfigError(f"lr_drop_epochs must be above 0, got {self.lr_drop_epochs}")

    def spec(self, classes: tuple[str, ...]) -> DetectorSpec:
        """The detector for these classes."""
        return DetectorSpec(
            arch=self.arch,
            classes=classes,
            image_square_length=self.image_square_length,
            backbone=self.backbone,
            padding=self.padding,
            channels=self.channels,
            stacked_convs=self.stacked_convs,
        )
