"""Formats whose numbers are pixels of the image as a model is shown it, for images as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import AnswerForm, BoxCodec, Decoded, TextForm
from lmmrotate.geometry.quads import Quads, as_quads

Size = tuple[int, int]  # width and height in pixels


def as_shown(codec: BoxCodec, shown_wh: Callable[[Size], Size]) -> BoxCodec:
    """``codec`` for sizes and coordinates of images as they are.

    Args:
        shown_wh: from the size of an image to the size at which the model sees it.
    """
    return ShownCodec(codec, shown_wh) if codec.in_pixels else codec


@dataclass(frozen=True)
class ShownCodec:
    """A codec in pixels that scales by exactly what the image is resized by; see ``BoxCodec``."""

    codec: BoxCodec
    shown_wh: Callable[[Size], Size]

    @property
    def name(self) -> str:
        return self.codec.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.codec.classes

    @property
    def words(self) -> tuple[str, ...]:
        return self.codec.words

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return self.codec.special_tokens

    @property
    def form(self) -> AnswerForm | TextForm:
        return self.codec.form

    @property
    def in_pixels(self) -> bool:
        return False

    @property
    def circular(self) -> tuple[bool, ...]:
        return self.codec.circular

    def to_json(self) -> Mapping[str, Any]:
        return self.codec.to_json()

    def coordinates(self, quads: Quads, image_wh: Size) -> npt.NDArray[np.int64]:
        shown = self.shown_wh(image_wh)
        return self.codec.coordinates(_scaled(quads, image_wh, shown), shown)

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: Size) -> Quads:
        shown = self.shown_wh(image_wh)
        return _scaled(self.codec.quads(numbers, shown), shown, image_wh)

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: Size) -> str:
        shown = self.shown_wh(image_wh)
        return self.codec.encode(_scaled(quads, image_wh, shown), labels, shown)

    def decode(self, text: str, image_wh: Size) -> Decoded:
        shown = self.shown_wh(image_wh)
        found = self.codec.decode(text, shown)
        return Decoded(_scaled(found.quads, shown, image_wh), found.labels, found.spans, found.problems)


def _scaled(quads: Quads, before: Size, after: Size) -> Quads:
    scaled: Quads = as_quads(quads) * (np.asarray(after, dtype=np.float64) / np.asarray(before))
    return scaled
