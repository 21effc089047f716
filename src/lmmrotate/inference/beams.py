"""Beam search, with the result of the published code's (Transformers 4.45, ``early_stopping=False``).

A sequence counts by its log-probability over its length. The search for an image is over when the best
sequence in sight cannot beat the worst of those that have ended; in sight are also those that end with this
very token, as in 4.45, where later versions look only at those that go on (the answers that are then found
are better).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lmmrotate.inference.grammar import Rules
from lmmrotate.inference.measures import Measures
from lmmrotate.models.base import AnswerDecoder

_NEVER = -1e9  # the score of what cannot be chosen

Found = tuple[list[int], npt.NDArray[np.float32]]
"""Tokens of one answer, and (T, 6) about them."""


@dataclass(frozen=True, eq=False)
class _Step:
    """Candidates (B, 2 * beams) for the next token of the images (B,) that are still searched."""

    images: list[int]
    tokens: torch.Tensor
    measured: torch.Tensor
    """(B, 2 * beams, 6)."""
    parents: torch.Tensor
    """The candidate of the step before that each one continues."""


def search(
    decoder: AnswerDecoder, rules: Rules, measures: Measures, images: int, beams: int, room: int
) -> list[Found]:
    """The best answer an image that is found, of at most ``room`` tokens.

    Args:
        decoder: with ``beams`` rows an image.
        images: B, how many.
    """
    device = rules.locations.device
    kept = 2 * beams  # so that enough go on if the best all end
    steps: list[_Step] = []
    rows = list(range(images))  # the image of every row of the tensors below
    best: list[tuple[int, int]] = [(0, 0)] * images  # step and candidate with which the best answer ends
    known, logits = rules.begin(images * beams), decoder.begin()
    going = torch.full((images, beams), _NEVER, device=device)  # log-probability of the beams
    going[:, 0] = 0  # they are all the same yet
    parents = torch.zeros((images, beams), dtype=torch.int64, device=device)
    ended = torch.full((images, beams), _NEVER, device=device)  # scores of the best that have ended
    ends = torch.zeros((images, beams), dtype=torch.int64, device=device)  # and their step and candidate
    is_ended = torch.zeros((images, beams), dtype=torch.bool, device=device)
    first = torch.arange(kept, device=device) < beams
    for place in range(room):
        logits = rules.mask(logits, known)
        width = logits.shape[1]
        scores = (logits.log_softmax(dim=1).view(len(rows), beams, width) + going[..., None]).flatten(1)
        top, flat = scores.topk(min(kept, scores.shape[1]))
        beam, columns = flat // width, flat % width
        above = beam + torch.arange(len(rows), device=device)[:, None] * beams  # its row
        steps.append(_taken(rows, rules, measures, logits, above, columns, parents.gather(1, beam)))

        hits = (columns == rules.end) | (place == room - 1)
        of_length = torch.where(hits & first[: top.shape[1]], top / (place + 1), _NEVER)
        merged = torch.cat([ended, of_length], dim=1)
        here = place * kept + torch.arange(top.shape[1], device=device).expand_as(top)
        ended, chosen = merged.topk(beams)
        ends = torch.cat([ends, here], dim=1).gather(1, chosen)
        is_ended = torch.cat([is_ended, hits & first[: top.shape[1]]], dim=1).gather(1, chosen)

        going, parents = (top + hits * _NEVER).topk(beams)
        worst = torch.where(is_ended, ended.min(dim=1, keepdim=True).values, _NEVER)
        hopeful = (top[:, :1] / (place + 1) > worst).any(dim=1)
        over = [row for row, hope in enumerate(hopeful.tolist()) if not hope or place == room - 1]
        for row in over:
            best[rows[row]] = divmod(int(ends[row, 0]), kept)
        left = sorted(set(range(len(rows))).difference(over))
        if not left:
            break
        from_row, columns = above.gather(1, parents), columns.gather(1, parents)
        if over:
            stay = torch.tensor(left, device=device)
            decoder.reorder(from_row.flatten())
            decoder.keep(stay)
            known = rules.advance(known[from_row.flatten()], columns.flatten())
            known = known.view(len(rows), beams, -1)[stay].flatten(0, 1)
            going, parents, ended, ends, is_ended, columns = (
                some[stay] for some in (going, parents, ended, ends, is_ended, columns)
            )
            rows = [rows[row] for row in left]
        else:
            decoder.reorder(from_row.flatten())
            known = rules.advance(known[from_row.flatten()], columns.flatten())
        columns = columns.flatten()
        logits = decoder.step(columns if rules.alphabet is None else rules.alphabet[columns])
    return [_traced(steps, image, *best[image]) for image in range(images)]


def _taken(
    rows: list[int],
    rules: Rules,
    measures: Measures,
    logits: torch.Tensor,
    above: torch.Tensor,
    columns: torch.Tensor,
    parents: torch.Tensor,
) -> _Step:
    chosen = logits[above.flatten(), columns.flatten()]
    measured = measures.take(logits[above.flatten()], chosen).view(*columns.shape, -1)
    tokens = columns if rules.alphabet is None else rules.alphabet[columns]
    return _Step(list(rows), tokens.cpu(), measured.cpu(), parents.cpu())


def _traced(steps: list[_Step], image: int, last: int, candidate: int) -> Found:
    """The answer that ends with a candidate of step ``last``, read backwards."""
    tokens: list[int] = []
    measured: list[npt.NDArray[np.float32]] = []
    for step in reversed(steps[: last + 1]):
        row = step.images.index(image)
        tokens.append(int(step.tokens[row, candidate]))
        measured.append(step.measured[row, candidate].numpy())
        candidate = int(step.parents[row, candidate])
    return tokens[::-1], np.stack(measured[::-1])
