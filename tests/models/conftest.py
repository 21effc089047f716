from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.loading import load_family

TOKENS = [*(f"<loc_{i}>" for i in range(1000)), "<sep>"]


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Florence2Family]:
    """Makes a tiny model with random weights for 64 px images."""

    def build(**options: object) -> Florence2Family:
        torch.manual_seed(0)
        settings = {"tokens": TOKENS, "words": ["ship", "small vehicle"], "image_square_length": 64}
        family = load_family("tiny-random", **(settings | options))  # type: ignore[arg-type]
        assert isinstance(family, Florence2Family)
        return family

    return build


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8))
        for h, w in [(40, 90), (64, 64), (9, 7)]
    ]
