"""From an RGB image to the tensor a vision tower wants, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SquareResize:
    """Bicubic resize to a square (aspect ratio is not kept), then per-channel normalisation.

    This is what Florence-2's processor does; coordinates are relative to width and height, so the
    distortion cancels out.
    """

    side_px: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB images of any size to float32 (B, 3, side_px, side_px)."""
        side = self.side_px
        pixels = np.empty((len(images), side, side, 3), dtype=np.uint8)
        for index, image in enumerate(images):
            resized = (
                image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BICUBIC)
            )
            pixels[index] = np.asarray(resized)
        # One multiplication and one addition a value: (x / 255 - mean) / std.
        scale = 1 / (255 * np.asarray(self.std, dtype=np.float32))
        shift = -np.asarray(self.mean, dtype=np.float32) / np.asarray(self.std, dtype=np.float32)
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float()
        return planes.mul_(torch.from_numpy(scale)[:, None, None]).add_(
            torch.from_numpy(shift)[:, None, None]
        )
