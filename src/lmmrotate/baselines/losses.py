"""Losses of the heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lmmrotate.baselines.assigning import IGNORED
from lmmrotate.baselines.rotated_iou import rotated_iou

ALPHA, GAMMA = 0.25, 2.0
LEAST_IOU = 1e-6


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the focal losses of a yes or no for every class (arXiv 1708.02002, equation 5).

    Args:
        logits: (..., K)
        labels: (...) class numbers, below 0 for none; ``IGNORED`` ones do not count.
    """
    counted = labels != IGNORED
    logits, labels = logits[counted].float(), labels[counted]
    wanted = torch.zeros_like(logits)
    taught = (labels >= 0).nonzero().flatten()
    wanted[taught, labels[taught]] = 1
    cost = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    miss = (wanted - logits.sigmoid()).abs()
    weight = torch.where(wanted > 0, ALPHA, 1 - ALPHA)
    return (weight * miss.pow(GAMMA) * cost).sum()


def iou_losses(found: Tensor, wanted: Tensor) -> Tensor:
    """-log IoU (N,) of rboxes (N, 5) and (N, 5): mmrotate's ``RotatedIoULoss``, exact and in float32."""
    return -rotated_iou(found.float(), wanted.float()).clamp(min=LEAST_IOU).log()
