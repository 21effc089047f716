"""Losses that know that location tokens are places: a neighbouring bin is a small error, not a wrong word."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def location_targets(
    bins: torch.Tensor, count: int, sigma_bins: float, circular: torch.Tensor | None = None
) -> torch.Tensor:
    """Gaussian distributions over bins around the right ones, cut off at the image's edges.

    Args:
        bins: (N,) the right bins.
        count: number of bins.
        sigma_bins: standard deviation.
        circular: (N,) bool, numbers whose last bin is next to the first (angles); default: none.

    Returns:
        (N, count), each row sums to 1.
    """
    distance = (torch.arange(count, device=bins.device) - bins[:, None]).abs().float()
    if circular is not None:
        distance = torch.where(circular[:, None], torch.minimum(distance, count - distance), distance)
    return torch.softmax(-0.5 * (distance / sigma_bins) ** 2, dim=1)


def answer_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    location_ids: torch.Tensor,
    sigma_bins: float,
    circular: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy of answer tokens, with Gaussian targets for location tokens.

    Args:
        logits: (N, V), one row a token that counts.
        labels: (N,).
        location_ids: (bins,) ids of ``<loc_0>``, ``<loc_1>``, ….
        sigma_bins: standard deviation of the targets; 0 for ordinary one-hot targets.
        circular: (N,) bool, see ``location_targets``.
    """
    if sigma_bins <= 0:
        return functional.cross_entropy(logits.float(), labels)
    bins = torch.full((logits.shape[1],), -1, dtype=torch.long, device=labels.device)
    bins[location_ids] = torch.arange(len(location_ids), device=labels.device)
    number = bins[labels]
    places = number >= 0
    log_probs = torch.log_softmax(logits.float(), dim=1)
    words = -log_probs[~places].gather(1, labels[~places, None]).sum()
    wrap = None if circular is None else circular[places]
    targets = location_targets(number[places], len(location_ids), sigma_bins, wrap)
    loss: torch.Tensor = (words - (targets * log_probs[places][:, location_ids]).sum()) / len(labels)
    return loss


class CellLoss(nn.Module):
    """The encoder state of the cell that holds an object's centre must tell the object's coordinates,
    read with the location tokens' own embeddings.

    This gives the encoder a direct reason to compute boxes, which small models do not find through the
    decoder alone (project findings: mAP 0.299 with it, 0.001 without, at equal budget). Used in training
    only.
    """

    def __init__(self, width: int, numbers: int) -> None:
        """
        Args:
            width: size of encoder states and token embeddings.
            numbers: coordinates a box.
        """
        super().__init__()
        self._numbers = numbers
        self.direct = nn.Linear(width, numbers * width)
        inner, outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, numbers * width)
        self.bent = nn.Sequential(inner, nn.GELU(), outer)
        for layer in (self.direct, inner, outer):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)

    def forward(
        self,
        states: torch.Tensor,
        bins: torch.Tensor,
        locations: torch.Tensor,
        sigma_bins: float,
        circular: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            states: (N, width), encoder states of the cells of N objects.
            bins: (N, numbers), their coordinates.
            locations: (bins, width), embeddings of the location tokens.
            sigma_bins: standard deviation of the targets, at least 1 is used.
            circular: (numbers,) bool, see ``location_targets``.
        """
        queries = (self.direct(states) + self.bent(states)).unflatten(-1, (self._numbers, -1)).flatten(0, 1)
        if not len(states):
            nothing: torch.Tensor = queries.sum()  # 0, with a gradient for every weight
            return nothing
        log_probs = torch.log_softmax((queries @ locations.T).float(), dim=1)
        wrap = None if circular is None else circular.repeat(len(states))
        targets = location_targets(bins.flatten(), len(locations), max(sigma_bins, 1.0), wrap)
        loss: torch.Tensor = -(targets * log_probs).sum(dim=1).mean()
        return loss


class PointerLoss(nn.Module):
    """The decoder state that begins a box must point to the encoder cell that holds the box's centre.

    Answers are ordered by y, but x is written first: to write it, the decoder must have chosen which
    object comes next before it has written anything of it. Without this loss small models learn that last.
    Used in training only.
    """

    def __init__(self, width: int) -> None:
        """
        Args:
            width: size of encoder and decoder states.
        """
        super().__init__()
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(
        self, written: torch.Tensor, states: torch.Tensor, images: torch.Tensor, cells: torch.Tensor
    ) -> torch.Tensor:
        """
        Args:
            written: (N, width), decoder states that begin N boxes.
            states: (B, C, width), encoder states of all cells.
            images: (N,), to which image each box belongs.
            cells: (N,), the right cells.
        """
        scale: float = written.shape[-1] ** -0.5
        scores = torch.einsum("nd,ncd->nc", self.query(written) * scale, self.key(states)[images])
        if not len(cells):
            nothing: torch.Tensor = scores.sum() + 0 * self.key(states).sum()
            return nothing
        return functional.cross_entropy(scores.float(), cells)
