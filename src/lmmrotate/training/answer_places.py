"""Which tokens of an answer are places, and which of those wrap around."""

from __future__ import annotations

from itertools import takewhile

import torch
from transformers import PreTrainedTokenizerBase

from lmmrotate.codec.base import BoxCodec


class AnswerPlaces:
    """Location tokens of a codec in a vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, codec: BoxCodec) -> None:
        tokens = [token for token in codec.special_tokens if token.startswith("<loc_")]
        self.ids = torch.tensor(tokenizer.convert_tokens_to_ids(tokens))
        """(bins,) ids of ``<loc_0>``, ``<loc_1>``, …."""
        self._bin = {int(token): number for number, token in enumerate(self.ids)}
        self._circular = torch.tensor(codec.circular)

    def circular(self, labels: torch.Tensor) -> torch.Tensor:
        """(B, T) bool: tokens of labels (B, T) whose last bin is next to their first.

        The numbers of a box are counted from the last token that is no location.
        """
        if not self._circular.any():
            return torch.zeros_like(labels, dtype=torch.bool)
        place = torch.isin(labels, self.ids)
        step = torch.arange(labels.shape[1]).expand_as(labels)
        last_word = torch.where(place, -1, step).cummax(dim=1).values
        number = (step - last_word - 1).clamp(min=0) % len(self._circular)
        return place & self._circular[number]

    def boxes(self, labels: torch.Tensor) -> dict[tuple[int | None, ...], int]:
        """Bins of the boxes in one answer's labels (T,), and the place of the first number of each."""
        numbers = len(self._circular)
        bins = [self._bin.get(token) for token in labels.tolist()]
        found: dict[tuple[int | None, ...], int] = {}
        step = 0
        while step < len(bins):
            box = tuple(takewhile(lambda number: number is not None, bins[step : step + numbers]))
            if len(box) == numbers:
                found[box] = step
            step += len(box) or 1
        return found
