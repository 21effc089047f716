"""Pretraining options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmmrotate.errors import ConfigError
from lmmrotate.training.options import (
    check_above,
    check_common,
    check_not_negative,
    option,
    require,
)

if TYPE_CHECKING:
    from lmmrotate.training.scenes import SceneMix


CELL_PX = 16  # side of the square behind one feature of the tiny preset


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything a pretraining depends on."""

    output_dir: str = option("", "the run directory to write; each stage has a folder of its own in it")
    classes: tuple[str, ...] = option((), "synthetic classes that are drawn and named (default: all)")
    gsd_m: tuple[float, ...] = option((0.2, 0.4), "metres for each pixel: the range they are drawn from")
    densities: tuple[str, ...] = option(
        ("sparse", "20", "50"), "kinds of scenes: sparse, mixed, dense, or the most objects a scene may have"
    )
    density_shares: tuple[float, ...] = option((0.25, 0.5, 0.25), "how often each density is drawn")
    scene_views: int = option(
        1,
        "samples made of each drawn scene, turned or mirrored, 1 to 8; drawing one costs as much as learning",
    )
    image_square_length: int = option(256, "side of the scenes in pixels")
    response_format: str = option("loc_tokens", "how boxes are written")
    batch_size: int = option(8, "images an update, over all processes")
    vision_steps: int = option(5500, "updates of the vision stage")
    language_steps: int = option(5500, "updates of the language stage")
    joint_steps: int = option(8000, "updates of the joint stage")
    vision_learning_rate: float = option(3e-3, "peak learning rate of the vision stage")
    language_learning_rate: float = option(4e-3, "peak learning rate of the language stage")
    joint_learning_rate: float = option(2e-3, "peak learning rate of the joint stage")
    language_smoothing: tuple[float, ...] = option(
        (30.0, 2.5), "bins; location smoothing of the language stage, from its beginning to 80 %"
    )
    joint_smoothing: tuple[float, ...] = option((10.0, 2.0), "bins; the same of the joint stage")
    ema_decay: float = option(
        0.998, "decay an update of the averaged weights that are kept; 0: the last ones"
    )
    seed: int = option(0, "random seed; the stages see the scenes of seed, seed + 1 and seed + 2")
    save_steps: int = option(250, "updates between checkpoints")
    logging_steps: int = option(50, "updates between log lines")
    dataloader_num_workers: int = option(1, "processes that draw scenes, for each training process")

    def __post_init__(self) -> None:
        require(self, "output_dir", "densities")
        check_above(self, "batch_size", "vision_steps", "language_steps", "joint_steps", "save_steps",
                    "vision_learning_rate", "language_learning_rate", "joint_learning_rate",
                    "logging_steps")  # fmt: skip
        check_not_negative(self, "dataloader_num_workers", "ema_decay")
        check_common(self)
        if self.image_square_length % CELL_PX:
            raise ConfigError(
                f"image_square_length must be a multiple of {CELL_PX}, got {self.image_square_length}"
            )
        if not 1 <= self.scene_views <= 8:
            raise ConfigError(f"scene_views must be from 1 to 8, got {self.scene_views}")
        if self.ema_decay >= 1:
            raise ConfigError(f"ema_decay must be below 1, got {self.ema_decay}")
        for name in ("gsd_m", "language_smoothing", "joint_smoothing"):
            values = getattr(self, name)
            if len(values) != 2 or not min(values) > 0:
                raise ConfigError(f"{name} must be two numbers above 0, got {values}")
        shares = self.density_shares
        if len(shares) != len(self.densities) or not min(shares) > 0:
            raise ConfigError(f"density_shares must be one number above 0 for each density, got {shares}")
        _ = self.mix  # refuses scenes that cannot be made

    @property
    def mix(self) -> SceneMix:
        """The scenes to learn from."""
        from lmmrotate.data.synthetic.scene import CLASSES, SceneSpec  # slow imports, not for --help
        from lmmrotate.training.scenes import SceneMix

        low, high = self.gsd_m
        side = self.image_square_length
        specs = [
            SceneSpec(side, side, (low, high), int(d) if d.isdigit() else d, self.classes or CLASSES)  # type: ignore[arg-type]
            for d in self.densities
        ]
        return SceneMix(tuple(specs), self.density_shares)


INCIDENTAL = ("output_dir", "save_steps", "logging_steps", "dataloader_num_workers")
"""Options that do not change what is learned."""
