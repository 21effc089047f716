"""Beam search that is over when the published code's was (Transformers 4.45)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def published_stop(model: Any) -> Iterator[None]:
    """While open, ``model.generate`` searches as long as Transformers 4.45 would have.

    Both stop when the best sequence in sight cannot beat the worst one that ended. Transformers 5 looks at
    sequences that go on; 4.45 looked also at those that end with this very token, and so went on for longer
    (golden j, ``generate_eos_bias``: the answers that it then finds are better).
    """
    best: list[torch.Tensor] = []
    continuations, check = model._get_top_k_continuations, model._check_early_stop_heuristic

    def remember(**kwargs: Any) -> Any:
        found = continuations(**kwargs)
        best[:] = [found[0][:, :1]]
        return found

    def look_at_all(**kwargs: Any) -> Any:
        return check(**kwargs | {"running_beam_scores": best[0]})

    # Set on the object, they go before the methods of its class.
    model._get_top_k_continuations, model._check_early_stop_heuristic = remember, look_at_all
    try:
        yield
    finally:
        del model._get_top_k_continuations, model._check_early_stop_heuristic
