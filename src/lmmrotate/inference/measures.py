"""What is kept of the distribution that a token was chosen from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]

COUNT = 6
"""Numbers a token: its log-probability, then the moments of the bins: 1, u, u^2, cos, sin."""


class Measures:
    """Log-probability of the chosen token, and moments of the distribution over location tokens.

    Bin i of n stands at ``u = (i + 0.5) / n - 0.5`` on a line and at the angle ``2 pi u`` on a circle; with
    moments about the middle, the spread about any bin can be told later.
    """

    def __init__(self, locations: torch.Tensor) -> None:
        """
        Args:
            locations: (bins,) columns of the location tokens in the logits.
        """
        bins = len(locations)
        device = locations.device
        leading = torch.equal(locations, torch.arange(bins, device=device))
        self._columns = slice(bins) if leading else locations
        u = (torch.arange(bins, device=device) + 0.5) / bins - 0.5
        turn = 2 * torch.pi * u
        self._basis = torch.stack([torch.ones_like(u), u, u**2, turn.cos(), turn.sin()], dim=1)

    def take(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """(R, 6) of logits (R, A), those of forbidden tokens -inf, and the chosen ones of them (R,)."""
        total = logits.logsumexp(dim=1, keepdim=True)
        shares = (logits[:, self._columns] - total).exp()
        return torch.cat([chosen[:, None] - total, shares @ self._basis], dim=1)


def spreads(measured: Floats, written: npt.NDArray[np.int64], bins: int) -> Floats:
    """(T, 2) root mean square distance in bins from the bin written, on the line and on the circle.

    Args:
        measured: (T, 6), see ``COUNT``.
        written: (T,) bins; -1 for tokens that are no location, whose spreads are NaN.
        bins: how many there are.
    """
    place = np.where(written < 0, np.nan, (written + 0.5) / max(bins, 1) - 0.5)
    _, mass, first, second, cos, sin = measured.T
    with np.errstate(invalid="ignore", divide="ignore"):
        line = (second - 2 * place * first) / mass + place**2
        turn = 2 * np.pi * place
        # The chord stands for the arc; it is at most a third shorter, and equal for small angles.
        circle = (2 - 2 * (np.cos(turn) * cos + np.sin(turn) * sin) / mass) / (2 * np.pi) ** 2
    out: Floats = np.sqrt(np.maximum(np.stack([line, circle], axis=1), 0)) * bins
    return out
