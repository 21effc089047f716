"""What training and inference need from a model family; one module per family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORE_INDEX = -100
"""Label of tokens that carry no loss (prompt and padding)."""


@dataclass(frozen=True, eq=False)
class Generated:
    """One written answer."""

    text: str
    """The answer without start, end and padding tokens; coordinate tokens are kept."""
    token_ids: npt.NDArray[np.int64]
    """(T,) ids of the tokens that make up the text, then the end token unless ``truncated``."""
    token_ends: npt.NDArray[np.int64]
    """(T,) how many characters of ``text`` are written after each token."""
    log_probs: npt.NDArray[np.float64]
    """(T,) natural logarithm of the probability the model gave each token."""
    truncated: bool
    """The token limit was reached before the end token."""


class ModelFamily(Protocol):
    """Adapter around a Transformers model, its tokenizer and its image preprocessing.

    Code outside ``lmmrotate.models`` never asks which family it holds.
    """

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def image_square_length(self) -> int:
        """Side in pixels to which every image is resized."""
        ...

    @property
    def max_answer_tokens(self) -> int:
        """The longest answer, end token included, that the model has positions for."""
        ...

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """Make each of ``tokens`` one entry of the vocabulary; returns how many were missing.

        New embedding rows are drawn at random, with mean and spread of the existing ones.
        """
        ...

    def answer_tokens(self, answer: str) -> int:
        """How many label tokens ``answer`` takes, start and end tokens included."""
        ...

    def training_batch(self, images: Sequence[Image], answers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Model inputs with ``labels`` (B, T); prompt and padding are ``IGNORE_INDEX``."""
        ...

    def generate(
        self, images: Sequence[Image], *, max_new_tokens: int | None = None, num_beams: int = 1
    ) -> list[Generated]:
        """One answer per RGB image, in order. Greedy unless ``num_beams`` is above 1."""
        ...

    @property
    def grid(self) -> int:
        """Feature cells a side, into which the vision tower divides every image."""
        ...

    def cell_states(self, outputs: Any) -> torch.Tensor:
        """(B, grid * grid, d) what the language model makes of every cell, row by row, in ``outputs`` of a
        training batch."""
        ...

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        """Modules under "vision", "projector" and "language", for freezing and reporting."""
        ...

    def grown_positions(self) -> list[tuple[torch.nn.Parameter, int]]:
        """Position tables of the language model that have got new rows, with the number of old ones."""
        ...

    def enable_gradient_checkpointing(self) -> None:
        """Let training compute activations again instead of keeping them, in vision and language."""
        ...

    def save_processor(self, folder: Path) -> None:
        """Write tokenizer and image preprocessing so that ``folder`` is a complete checkpoint."""
        ...

    def save(self, folder: Path, layout: str) -> None:
        """Write a complete checkpoint, ``native`` or in a layout of the family's own.

        Raises:
            ConfigError: for a layout that the family does not have.
        """
        ...
