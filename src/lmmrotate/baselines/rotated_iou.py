"""Exact overlap of rotated boxes in torch, with gradients: what the IoU loss is made of.

A box seen in the other's own frame is a convex outline, and the other one the range |x| <= w / 2,
|y| <= h / 2. Clamping every point of the outline into that range moves what lies outside onto the border,
where it encloses nothing: so the clamped outline encloses exactly the intersection. Its area is the line
integral of clamp(x) over clamp(y) (Green's theorem), edge by edge in closed form. There is no sorting of
corners, so that shared edges and equal boxes are as exact as any others. Where edges coincide the overlap has
a kink, and the gradient is one between those of its sides.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CORNERS = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))


def rotated_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of rboxes, pair by pair.

    Args:
        a, b: (..., 5) as cx, cy, w, h in pixels and the angle in radians, in any convention; float32 or
            float64, on any device. Gradients flow into both.

    Returns:
        (...) in [0, 1] up to rounding; 0 where a box has no area.
    """
    area = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3]
    shared = intersection_area(a, b)
    return shared / (area - shared).clamp(min=torch.finfo(area.dtype).tiny)


def intersection_area(a: Tensor, b: Tensor) -> Tensor:
    """(...) shared area of rboxes (..., 5), pair by pair; see ``rotated_iou``."""
    corners = _seen_from(a, b)
    x, y = corners.unbind(-1)
    width, height = (b[..., side, None].expand_as(x) / 2 for side in (2, 3))
    next_x, next_y = x.roll(-1, dims=-1), y.roll(-1, dims=-1)
    # The part of every edge within |y| <= height, as shares of its length.
    low, high = y.clamp(-height, height), next_y.clamp(-height, height)
    rise = next_y - y
    level = rise == 0  # encloses nothing, but would when it is turned: its mean is that of the whole edge
    rise = torch.where(level, torch.ones_like(rise), rise)
    run = next_x - x
    left, right = (
        x + run * torch.where(level, float(whole), ((limit - y) / rise).clamp(0, 1))
        for whole, limit in ((0, low), (1, high))
    )
    mean = (left + right) / 2 - _mean_above(left - width, right - width)
    mean = mean + _mean_above(-width - left, -width - right)
    return ((high - low) * mean).sum(-1).clamp(min=0)


def _mean_above(first: Tensor, last: Tensor) -> Tensor:
    """Mean of max(u, 0) while u goes evenly from ``first`` to ``last``."""
    above = first.clamp(min=0) + last.clamp(min=0)
    span = first.abs() + last.abs()
    flat = span == 0
    return above.square() / (2 * torch.where(flat, torch.ones_like(span), span))


def _seen_from(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4, 2) corners of ``a`` in the frame of ``b``: its centre, its axes; x turns towards y."""
    offset_x, offset_y = a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]
    cos, sin = torch.cos(b[..., 4]), torch.sin(b[..., 4])
    centre = torch.stack([offset_x * cos + offset_y * sin, offset_y * cos - offset_x * sin], dim=-1)
    turn = a[..., 4] - b[..., 4]
    cos, sin = torch.cos(turn), torch.sin(turn)
    along = torch.stack([cos, sin], dim=-1) * a[..., 2:3] / 2
    across = torch.stack([-sin, cos], dim=-1) * a[..., 3:4] / 2
    corners = [centre + first * along + second * across for first, second in _CORNERS]
    return torch.stack(corners, dim=-2)
