"""A confidence for every box, from the probabilities of the tokens that wrote it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import BoxSpans, Span
from lmmrotate.models.base import Generated


def box_scores(generated: Generated, spans: tuple[BoxSpans, ...]) -> tuple[float, ...]:
    """One score in [0, 1] a box: the geometric mean of its opening and its coordinates.

    With p the product of the probabilities of the tokens that opened the box (its class name, or
    ``<sep>`` for a further box of the class) and q1 … qn those of its n coordinate tokens, the score is
    (p q1 … qn) ^ (1 / (n + 1)). It ranks like the product, which with the minimum was the best of the
    formulas measured (mAP 0.929 against 0.905 with all scores 1; the class token alone was the worst),
    and unlike the product it does not shrink to nothing, so thresholds on it are readable.

    A class name of several tokens counts as one factor: names of different lengths stay comparable.
    """
    starts = np.concatenate([[0], generated.token_ends[:-1]])
    scores: list[float] = []
    for span in spans:
        opening = _log_probs(generated, starts, span.opening)
        coordinates = _log_probs(generated, starts, span.coordinates)
        mean = (opening.sum() + coordinates.sum()) / (1 + len(coordinates))
        scores.append(float(np.exp(min(mean, 0.0))))
    return tuple(scores)


def _log_probs(generated: Generated, starts: npt.NDArray[np.int64], span: Span) -> npt.NDArray[np.float64]:
    """Log-probabilities of the tokens that wrote any character of ``span``."""
    writes = generated.token_ends > starts
    inside = (generated.token_ends > span[0]) & (starts < span[1]) & writes
    return generated.log_probs[inside]
