"""From manifests to (image, answer) pairs, with every answer checked before training begins.

Records stay in their files and answers are written when their images are read, so that a data set takes some
24 bytes an image in every process, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lmmrotate.codec.base import BoxCodec
from lmmrotate.data.augment import Augmentation
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import DataError
from lmmrotate.training.manifests import followed
from lmmrotate.training.records import UNCHANGED, RecordDataset


@dataclass(frozen=True)
class AnswerCounts:
    """What became of the images and boxes of a data set on their way into answers."""

    images: int = 0
    boxes: int = 0
    skipped_images: int = 0
    """Images without an answer: too long (over_long: skip), or empty under response versions 1 and 2."""
    dropped_boxes: int = 0
    """Boxes left out of answers that were too long (over_long: drop_boxes)."""
    shortened_answers: int = 0
    longest_answer: int = 0
    """Tokens of the longest answer kept."""
    largest_side_px: int = 0
    """Longest side of an image kept."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model should write about the images of one manifest."""

    images: ManifestFile
    codec: BoxCodec
    boxes: npt.NDArray[np.int64]
    """(N,) how many boxes each answer holds: all of the image's, or those that fit."""
    tokens: npt.NDArray[np.int64]
    """(N,) how long each answer is."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ImageRecord:
        """An image with the objects that its answer holds."""
        record = self.images[index]
        kept = int(self.boxes[index])
        if kept < len(record.labels):
            answer = self.codec.encode(record.quads, record.labels, record.wh)
            record = _first(record, _answer_order(record, self.codec, answer), kept)
        return record

    def image_path(self, record: ImageRecord) -> Path:
        return self.images.image_path(record)


@dataclass(frozen=True, eq=False)
class Example:
    """An image as a model is shown it."""

    image: Image.Image
    answer: str
    """What it should write."""
    path: Path
    """Where the image comes from, for messages."""


class AnswerDataset(RecordDataset[Example]):
    """Images and the answers a model should write about them, as an epoch shows them."""

    def __init__(self, answers: Sequence[Answers], counts: AnswerCounts, **how: Any) -> None:
        """
        Args:
            answers: by data set.
            counts: what became of the records.
            how: see ``RecordDataset``.
        """
        self._answers = answers
        self.counts = counts
        super().__init__(answers, **how)

    def lengths(self) -> npt.NDArray[np.int64]:
        """(N,) tokens of this epoch's answers."""
        found = np.empty(len(self._shown), dtype=np.int64)
        for dataset, answers in enumerate(self._answers):
            mine = self._shown[:, 0] == dataset
            found[mine] = answers.tokens[self._shown[mine, 1]]
        return found

    def __getitem__(self, index: int) -> Example:
        """An image and its answer.

        Raises:
            DataError: as ``changed``.
        """
        path, image, record = self.changed(index)
        codec = self._answers[self._shown[index, 0]].codec
        return Example(image, codec.encode(record.quads, record.labels, record.wh), path)


def build_answers(
    manifests: Sequence[ManifestFile],
    codec: BoxCodec,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    over_long: str,
    *,
    check_shape: Callable[[tuple[int, int]], object] | None = None,
    mode: str = "concat",
    weights: Sequence[float] = (),
    augmentation: Augmentation = UNCHANGED,
    seed: int = 0,
) -> AnswerDataset:
    """Write every image's answer once to make sure that it fits into ``max_tokens``.

    Args:
        count_tokens: tokens that an answer takes, start and end included.
        over_long: "drop_boxes" leaves the last boxes of the answer out, "skip" leaves the image out,
            "error" raises.
        check_shape: raises DataError for the width and height of an image that the model cannot be shown.
        mode, weights: how the manifests are mixed (``data.mixing.epoch_items``).
        augmentation, seed: how images are changed (``AnswerDataset``).

    Raises:
        DataError: if no image is left; naming it, for one that cannot be shown, or whose answer does not fit
            with ``over_long="error"``.
    """
    datasets: list[Answers] = []
    skipped = dropped = shortened = longest = largest = 0
    for manifest in manifests:
        boxes, lengths = np.full((2, len(manifest)), -1)
        for index, record in enumerate(followed("writing answers", manifest)):
            if check_shape is not None:
                _checked(record, manifest, check_shape)
            fit = _fit(record, codec, count_tokens, max_tokens, over_long)
            if fit is None:
                skipped += 1
                continue
            boxes[index], tokens = fit
            dropped += len(record.labels) - fit[0]
            shortened += fit[0] < len(record.labels)
            lengths[index] = tokens
            longest, largest = max(longest, tokens), max(largest, *record.wh)
        kept = boxes >= 0
        datasets.append(Answers(manifest.take(kept), codec, boxes[kept], lengths[kept]))
    counts = AnswerCounts(
        images=sum(map(len, datasets)),
        boxes=sum(int(answers.boxes.sum()) for answers in datasets),
        skipped_images=skipped,
        dropped_boxes=dropped,
        shortened_answers=shortened,
        longest_answer=longest,
        largest_side_px=largest,
    )
    if not counts.images:
        raise DataError("the data holds no image to train on")
    return AnswerDataset(datasets, counts, mode=mode, weights=weights, augmentation=augmentation, seed=seed)


def _checked(
    record: ImageRecord, manifest: ManifestFile, check_shape: Callable[[tuple[int, int]], object]
) -> None:
    try:
        check_shape(record.wh)
    except DataError as error:
        raise DataError(f"{manifest.image_path(record)}: {error}") from error


def _fit(
    record: ImageRecord, codec: BoxCodec, count_tokens: Callable[[str], int], max_tokens: int, over_long: str
) -> tuple[int, int] | None:
    """How many boxes the answer holds, and its tokens; None leaves the image out."""
    answer = codec.encode(record.quads, record.labels, record.wh)
    if not answer and codec.form.nothing is None:
        return None
    tokens = count_tokens(answer)
    if tokens <= max_tokens:
        return len(record.labels), tokens
    if over_long == "skip":
        return None
    if over_long == "error":
        raise DataError(
            f"{record.image}: the answer for {len(record.labels)} boxes takes {tokens} tokens, "
            f"more than {max_tokens}; cut smaller tiles, raise language_model_max_length, or set over_long "
            "to drop_boxes or skip"
        )
    # Boxes of one class stand together, so drop from the end of the answer: decoding gives its order.
    low, high = 0, len(record.labels) - 1
    order = _answer_order(record, codec, answer)
    while low < high:
        middle = (low + high + 1) // 2
        kept = _first(record, order, middle)
        count = count_tokens(codec.encode(kept.quads, kept.labels, kept.wh))
        if count <= max_tokens:
            low, tokens = middle, count
        else:
            high = middle - 1
    # Not one box fits: "There are none." would teach a falsehood.
    return (low, tokens) if low else None


def _answer_order(record: ImageRecord, codec: BoxCodec, answer: str) -> list[int]:
    """Indices of the record's boxes by class in the order in which the answer names classes."""
    named = list(dict.fromkeys(codec.decode(answer, record.wh).labels))
    return sorted(range(len(record.labels)), key=lambda i: named.index(record.labels[i]))


def _first(record: ImageRecord, order: Sequence[int], count: int) -> ImageRecord:
    return record.select(sorted(order[:count]))
