"""A confidence for every box, from the probabilities of the tokens that wrote it.

All probabilities are shares of what the grammar allowed. A class name of several tokens counts as one factor:
names of different lengths stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import BoxCodec, BoxSpans, Span
from lmmrotate.geometry.quads import quad_areas
from lmmrotate.inference.decoding import Answer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the tokens of one answer say about its N boxes."""

    opening: Floats
    """(N,) probability of what opened the box: its class name (first box of a group) or ``<sep>``; 1 for a
    box that follows another without either."""
    numbers: Floats
    """(N, n) probabilities of its n location tokens."""
    expected_iou: Floats
    """(N,) overlap to be expected of the box and the object; see ``expected_ious``."""


FORMULAS: Mapping[str, Callable[[Evidence], Floats]] = {
    "opening": lambda e: e.opening,
    "product": lambda e: e.opening * e.numbers.prod(axis=1),
    "geometric_mean": lambda e: (e.opening * e.numbers.prod(axis=1)) ** (1 / (1 + e.numbers.shape[1])),
    "minimum": lambda e: np.minimum(e.opening, e.numbers.min(axis=1, initial=1.0)),
    "expected_iou": lambda e: e.expected_iou,
    "opening_iou": lambda e: e.opening * e.expected_iou,
}
"""From evidence to scores (N,) in [0, 1], by name."""

DEFAULT_FORMULA = "minimum"
"""The best on two sets of held-out tiles, ``opening_iou`` as good on one of them (docs/prediction.md)."""


def evidence_of(
    answer: Answer, spans: tuple[BoxSpans, ...], codec: BoxCodec, image_wh: tuple[int, int]
) -> Evidence:
    """The evidence for the boxes that ``codec`` has read at ``spans`` of the answer about an image."""
    count = len(codec.circular)
    _, openings = _joint_logs(answer, [span.opening for span in spans])
    first, joint = _joint_logs(answer, [span.coordinates for span in spans])
    where = np.minimum(first[:, None] + np.arange(count), max(0, len(answer.bins) - 1))
    bins = answer.bins[where] if len(spans) else np.empty((0, count), dtype=np.int64)
    # Without a grammar a model may spell a location letter by letter: then only the whole is known.
    # Formats that spell numbers on purpose say where each one stands.
    spelled = np.asarray((bins < 0).any(axis=1))
    logs = np.where(spelled[:, None], joint[:, None] / count, answer.log_probs[where] if len(spans) else 0.0)
    if spans and all(span.numbers for span in spans):
        _, each = _joint_logs(answer, [number for span in spans for number in span.numbers])
        logs = each.reshape(-1, count)
    column = np.array(codec.circular, dtype=np.int64)
    spreads = answer.spreads[where, column] if len(spans) else np.empty((0, count))
    ious = expected_ious(codec, bins.astype(np.float64), spreads, image_wh)
    return Evidence(np.exp(openings), np.exp(logs), np.where(spelled, 0.0, ious))


def expected_ious(codec: BoxCodec, bins: Floats, spreads: Floats, image_wh: tuple[int, int]) -> Floats:
    """The IoU to be expected of boxes whose numbers are off by as much as the model spread them.

    To first order, a corner whose distance from an edge's line has the standard deviation s moves it by
    s * sqrt(2 / pi) on average, and the area between two outlines is the sum over edges of their length times
    the mean of their ends' moves. With that area D and the box's area A, half of D lies outside each outline
    and the IoU is (A - D / 2) / (A + D / 2): to first order A / (A + D), which also ranks boxes that are
    hardly known. The numbers' errors are taken for independent: each token is chosen knowing those before it.

    Args:
        codec: says which corners a number moves, and how far.
        bins: (N, n), as written.
        spreads: (N, n), standard deviations in bins.
    """
    corners = codec.quads(bins, image_wh)
    step = np.eye(bins.shape[1])
    moved = codec.quads((bins[:, None] + step).reshape(-1, len(step)), image_wh)
    moves = moved.reshape(len(bins), len(step), 4, 2) - corners[:, None]  # (N, n, 4, 2) px a bin
    edges = np.roll(corners, -1, axis=1) - corners
    lengths = np.linalg.norm(edges, axis=2)
    normals = np.stack([-edges[..., 1], edges[..., 0]], axis=2) / np.maximum(lengths, 1e-9)[..., None]
    variances = spreads[..., None] ** 2
    one_end = np.einsum("njkc,nkc->njk", moves, normals)
    other_end = np.einsum("njkc,nkc->njk", np.roll(moves, -1, axis=2), normals)
    one, other = (np.sqrt((variances * end**2).sum(axis=1)) for end in (one_end, other_end))
    between = np.sqrt(2 / np.pi) * (lengths * (one + other) / 2).sum(axis=1)
    areas = quad_areas(corners)
    with np.errstate(invalid="ignore", divide="ignore"):
        ious = areas / (areas + between)
    return np.asarray(np.nan_to_num(np.clip(ious, 0.0, 1.0), nan=0.0))


def _joint_logs(answer: Answer, spans: list[Span]) -> tuple[npt.NDArray[np.int64], Floats]:
    """For N spans of the text, the first token that wrote any of it, and the joint log-probability of all."""
    ends = answer.token_ends
    starts = np.concatenate([[0], ends[:-1]])
    sums = np.concatenate([[0.0], np.cumsum(np.where(ends > starts, answer.log_probs, 0.0))])
    bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
    first = np.searchsorted(ends, bounds[:, 0], side="right")
    last = np.maximum(np.searchsorted(starts, bounds[:, 1], side="left"), first)
    return first, np.minimum(sums[last] - sums[first], 0.0)
