"""Boxes as the numbers that the heads predict, and back; torch, with gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_ENLARGED = math.log(1000 / 16)
"""By how much a side of an anchor may grow or shrink, as a logarithm."""


def half_turn(angle: Tensor) -> Tensor:
    """Angles in radians brought into [-pi/2, pi/2] by half turns (the upper end by rounding only)."""
    return torch.remainder(angle + math.pi / 2, math.pi) - math.pi / 2


def encode_deltas(anchors: Tensor, boxes: Tensor) -> Tensor:
    """What turns anchors into boxes, (N, 5): mmrotate's ``DeltaXYWHTRBBoxCoder`` with ``edge_swap`` and
    ``proj_xy``.

    The shift is along the anchor's own axes, in its sides; sizes are logarithms of ratios. Of the two
    ways to name a box's sides the one is taken in which it is turned less, by at most a quarter of pi, so
    that a box slightly beyond the end of the angle's range is a small step away, not half a turn.

    Args:
        anchors: (N, 5) rboxes, le90.
        boxes: (N, 5) rboxes, le90.
    """
    x, y, w, h, angle = anchors.unbind(-1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    offset_x, offset_y = boxes[..., 0] - x, boxes[..., 1] - y
    turn = half_turn(boxes[..., 4] - angle)
    other = half_turn(turn + math.pi / 2)
    keeps = turn.abs() < other.abs()
    long, short = boxes[..., 2], boxes[..., 3]
    return torch.stack(
        [
            (offset_x * cos + offset_y * sin) / w,
            (offset_y * cos - offset_x * sin) / h,
            torch.log(torch.where(keeps, long, short) / w),
            torch.log(torch.where(keeps, short, long) / h),
            torch.where(keeps, turn, other),
        ],
        dim=-1,
    )


def decode_deltas(anchors: Tensor, deltas: Tensor) -> Tensor:
    """The boxes (N, 5), le90; the inverse of ``encode_deltas``."""
    x, y, w, h, angle = anchors.unbind(-1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    along, across = deltas[..., 0] * w, deltas[..., 1] * h
    width, height = (
        side * deltas[..., place].clamp(-MOST_ENLARGED, MOST_ENLARGED).exp()
        for side, place in ((w, 2), (h, 3))
    )
    turn = angle + deltas[..., 4]
    return torch.stack(
        [
            x + along * cos - across * sin,
            y + along * sin + across * cos,
            torch.maximum(width, height),
            torch.minimum(width, height),
            half_turn(torch.where(width > height, turn, turn + math.pi / 2)),
        ],
        dim=-1,
    )


def encode_distances(places: Tensor, boxes: Tensor) -> Tensor:
    """How far the sides of boxes are from points in them, (N, 4): left, top, right and bottom along the
    boxes' own axes, pixels; mmrotate's ``DistanceAnglePointCoder``.

    Args:
        places: (N, 2)
        boxes: (N, 5) rboxes.
    """
    offset_x, offset_y = (places - boxes[..., :2]).unbind(-1)
    cos, sin = torch.cos(boxes[..., 4]), torch.sin(boxes[..., 4])
    along, across = offset_x * cos + offset_y * sin, offset_y * cos - offset_x * sin
    half_w, half_h = boxes[..., 2] / 2, boxes[..., 3] / 2
    return torch.stack([half_w + along, half_h + across, half_w - along, half_h - across], dim=-1)


def decode_distances(places: Tensor, distances: Tensor, angle: Tensor) -> Tensor:
    """The boxes (N, 5) with these distances (N, 4) and angles (N,); the inverse of ``encode_distances``.

    Sides and angle are as they are told, w along the angle: where a model finds w < h, so be it.
    """
    left, top, right, bottom = distances.unbind(-1)
    along, across = (right - left) / 2, (bottom - top) / 2
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack(
        [
            places[..., 0] + along * cos - across * sin,
            places[..., 1] + along * sin + across * cos,
            left + right,
            top + bottom,
            half_turn(angle),
        ],
        dim=-1,
    )


def centreness(distances: Tensor) -> Tensor:
    """How near a point is to the middle of its box, (N,) from 0 at a side to 1: FCOS (arXiv 1904.01355),
    equation 3, of distances (N, 4)."""
    left, top, right, bottom = distances.unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    along = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return torch.sqrt((across * along).clamp(min=0))
