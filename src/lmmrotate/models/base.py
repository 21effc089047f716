"""What training and inference need from a model family; one module per family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lmmrotate.errors import ConfigError
from lmmrotate.models.prompts import PUBLISHED_PROMPT

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORE_INDEX = -100
"""Label of tokens that carry no loss (prompt and padding)."""


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """How a model is loaded; training's options of the same names."""

    prompt: str = PUBLISHED_PROMPT
    system_prompt: str = ""
    image_square_length: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    language_model_max_length: int | None = None
    attn_implementation: str = "sdpa"
    packing: bool = False
    weights: bool = True
    """Without them only shapes are there: for engines that load the weights themselves."""

    def check(self) -> None:
        """Raises ConfigError for sizes that cannot be."""
        if self.image_square_length is not None and self.image_square_length < 16:
            raise ConfigError(f"image_square_length must be at least 16, got {self.image_square_length}")
        least, most = self.min_pixels, self.max_pixels
        for name, value in (("min_pixels", least), ("max_pixels", most)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if most is not None and self.image_square_length is not None:
            raise ConfigError("image_square_length and max_pixels both limit images; give one of them")
        if least and most and least > most:
            raise ConfigError(f"min_pixels {least} is more than max_pixels {most}")


class AnswerDecoder(Protocol):
    """The answers about a batch of images while they are written: ``beams`` rows an image, image by image."""

    def begin(self) -> torch.Tensor:
        """Logits (R, A), float32, of the first token of every answer."""
        ...

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Write a token id to every row (R,); logits (R, A) of the tokens that may follow."""
        ...

    def reorder(self, rows: torch.Tensor) -> None:
        """Let every row go on from another row of its image: (R,) their numbers."""
        ...

    def keep(self, images: torch.Tensor) -> None:
        """Go on with these images only: (B',) their numbers, rising."""
        ...


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
        """Side in pixels to which every image is resized; of models that keep an image's size, of the largest
        square that they do not reduce."""
        ...

    @property
    def keeps_size(self) -> bool:
        """Whether images are shown in about their own size, up to a limit."""
        ...

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels at which the model sees an image of ``image_wh``.

        Raises:
            DataError: for a shape that it cannot be shown.
        """
        ...

    @property
    def max_answer_tokens(self) -> int:
        """The longest answer, end token included, that the model has positions for."""
        ...

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """Make each of ``tokens`` one entry of the vocabulary; returns how many were missing.

        New embedding rows begin at the mean of the others, apart from each other.
        """
        ...

    def answer_ids(self, answer: str) -> list[int]:
        """The label tokens of ``answer``, start and end tokens included."""
        ...

    def training_batch(self, images: Sequence[Image], answers: Sequence[str]) -> dict[str, Any]:
        """Model inputs with ``labels`` (B, T); prompt and padding are ``IGNORE_INDEX``.

        ``shift_labels``, where there are any, are what the model's logits are to be compared with.
        """
        ...

    def answer_decoder(
        self, images: Sequence[Image], *, alphabet: torch.Tensor | None = None, beams: int = 1
    ) -> AnswerDecoder:
        """Look at RGB images and be ready to write.

        Args:
            images: B of them.
            alphabet: (A,) ids of the tokens that logits are wanted for; default: the whole vocabulary.
            beams: rows an image.
        """
        ...

    def serving_prompt(self) -> str:
        """The question as text, the image's place in it marked as Transformers' processors expect it.

        Raises:
            ConfigError: for a family that no server runs.
        """
        ...

    @property
    def grid(self) -> int:
        """Feature cells a side, into which the vision tower divides every image; 0 where that differs."""
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
