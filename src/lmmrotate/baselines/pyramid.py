"""The feature pyramid (FPN, arXiv 1612.03144), levels P3 to P7, as mmdet builds it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class Pyramid(nn.Module):
    """Three feature maps of a backbone as five of equal width."""

    def __init__(self, widths: Sequence[int], channels: int, extra: str) -> None:
        """
        Args:
            widths: channels of the backbone's maps, at strides 8, 16, 32.
            channels: of every level.
            extra: P6 is made ``on_input`` of the backbone's last map (RetinaNet) or ``on_output`` of P5, with
                a ReLU before P7 (FCOS).
        """
        super().__init__()
        self._on_input = extra == "on_input"
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        first = widths[-1] if self._on_input else channels
        self.extra = nn.ModuleList(
            nn.Conv2d(width, channels, 3, stride=2, padding=1) for width in (first, channels)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        sides = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        for level in range(len(sides) - 1, 0, -1):
            size = sides[level - 1].shape[-2:]
            sides[level - 1] = sides[level - 1] + functional.interpolate(sides[level], size=size)
        levels = [smooth(side) for smooth, side in zip(self.smooth, sides, strict=True)]
        levels.append(self.extra[0](maps[-1] if self._on_input else levels[-1]))
        last = levels[-1] if self._on_input else functional.relu(levels[-1])
        levels.append(self.extra[1](last))
        return levels
