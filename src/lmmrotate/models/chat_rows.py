"""Conversations as rows of token ids, and several of them in one batch: padded or packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from lmmrotate.models.base import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class Row:
    """One conversation."""

    ids: torch.Tensor
    """(T,)"""
    asked: int
    """How many of them are the question; the answer follows."""
    positions: torch.Tensor
    """(..., T)"""
    tensors: dict[str, torch.Tensor]

    @property
    def labels(self) -> torch.Tensor:
        """(T,) the answer; the question is ``IGNORE_INDEX``."""
        labels = self.ids.clone()
        labels[: self.asked] = IGNORE_INDEX
        return labels


def padded(rows: Sequence[Row], pad_token: int, *, left: bool) -> dict[str, torch.Tensor]:
    """Rows of equal length; what fills them up stands before or behind the conversation."""

    def filled(parts: Iterable[torch.Tensor], value: int) -> torch.Tensor:
        turned = [part.flip(0) if left else part for part in parts]
        out = pad_sequence(turned, batch_first=True, padding_value=value)
        return out.flip(1) if left else out

    positions = filled((row.positions.movedim(-1, 0) for row in rows), 0)
    return {
        "input_ids": filled((row.ids for row in rows), pad_token),
        "attention_mask": filled((torch.ones_like(row.ids) for row in rows), 0),
        "position_ids": positions if positions.ndim == 2 else positions.movedim(-1, 0).contiguous(),
        "labels": filled((row.labels for row in rows), IGNORE_INDEX),
        **_joined(rows),
    }


def packed(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """One row; Transformers sees where conversations begin by positions that begin anew."""
    positions = torch.cat([row.positions for row in rows], dim=-1)
    if positions.ndim > 1:  # in three dimensions they say nothing of the order; that goes in front
        order = torch.cat([torch.arange(len(row.ids)) for row in rows])
        positions = torch.cat([order[None], positions])
    return {
        "input_ids": torch.cat([row.ids for row in rows])[None],
        "position_ids": positions.unsqueeze(-2),
        "labels": torch.cat([row.labels for row in rows])[None],
        **_joined(rows),
    }


def _joined(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([row.tensors[name] for row in rows]) for name in rows[0].tensors}
