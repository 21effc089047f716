"""From manifests to (image, answer) pairs, with every answer checked before training begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

from lmmrotate.codec.base import BoxCodec
from lmmrotate.data.images import image_size, read_image
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.mixing import epoch_items
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError


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


class AnswerDataset(Dataset[tuple[Image.Image, str]]):
    """Images and the answers a model should write about them, as an epoch shows them."""

    def __init__(
        self,
        items: Sequence[Sequence[tuple[Path, str]]],
        counts: AnswerCounts,
        *,
        mode: str = "concat",
        weights: Sequence[float] = (),
    ) -> None:
        """
        Args:
            items: image and answer, by data set.
            counts: what became of the records.
            mode, weights: how data sets are mixed (``data.mixing.epoch_items``).
        """
        self._items = items
        self._mode, self._weights = mode, weights
        self.counts = counts
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Show what this epoch, counted from 0, holds; its length is always the same."""
        sizes = [len(items) for items in self._items]
        self._shown = epoch_items(sizes, self._mode, epoch, self._weights)

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, index: int) -> tuple[Image.Image, str]:
        dataset, place = self._shown[index].tolist()
        path, answer = self._items[dataset][place]
        return read_image(path), answer


def read_training_manifests(paths: Sequence[str], image_folders: Sequence[str]) -> list[Manifest]:
    """Read the manifests, which must share one class list.

    Raises:
        ConfigError: if their class lists differ.
        DataError: if a manifest or one of its images is missing, or an image has another size.
    """
    folders: list[Path | None] = [Path(f) for f in image_folders] or [None for _ in paths]
    manifests = [read_manifest(Path(p), f) for p, f in zip(paths, folders, strict=True)]
    for path, manifest in zip(paths, manifests, strict=True):
        if manifest.classes != manifests[0].classes:
            raise ConfigError(
                f"{path}: its class list differs from that of {paths[0]}: "
                f"{', '.join(manifest.classes)} against {', '.join(manifests[0].classes)}"
            )
        manifest.require_images()
        for record in manifest.records:
            _check_size(manifest, record)
    return manifests


def _check_size(manifest: Manifest, record: ImageRecord) -> None:
    path = manifest.image_path(record)
    found = image_size(path)
    if found != record.wh:
        raise DataError(
            f"{path}: is {found[0]} x {found[1]} px, but the manifest says {record.width} x {record.height}"
        )


def build_answers(
    manifests: Sequence[Manifest],
    codec: BoxCodec,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    over_long: str,
    *,
    mode: str = "concat",
    weights: Sequence[float] = (),
) -> AnswerDataset:
    """Write every image's answer and make sure that it fits into ``max_tokens``.

    Args:
        count_tokens: tokens that an answer takes, start and end included.
        over_long: "drop_boxes" leaves the last boxes of the answer out, "skip" leaves the image out,
            "error" raises.
        mode, weights: how the manifests are mixed (``data.mixing.epoch_items``).

    Raises:
        DataError: if no image is left, or with ``over_long="error"`` naming the image.
    """
    datasets: list[list[tuple[Path, str]]] = []
    counts = AnswerCounts()
    for manifest in manifests:
        items: list[tuple[Path, str]] = []
        for record in manifest.records:
            kept, answer = _fit(record, codec, count_tokens, max_tokens, over_long)
            dropped = len(record.labels) - kept
            if answer is None:
                counts = replace(counts, skipped_images=counts.skipped_images + 1)
                continue
            items.append((manifest.image_path(record), answer))
            counts = replace(
                counts,
                images=counts.images + 1,
                boxes=counts.boxes + kept,
                dropped_boxes=counts.dropped_boxes + dropped,
                shortened_answers=counts.shortened_answers + bool(dropped),
                longest_answer=max(counts.longest_answer, count_tokens(answer)),
            )
        datasets.append(items)
    if not any(datasets):
        raise DataError("the data holds no image to train on")
    return AnswerDataset(datasets, counts, mode=mode, weights=weights)


def _fit(
    record: ImageRecord, codec: BoxCodec, count_tokens: Callable[[str], int], max_tokens: int, over_long: str
) -> tuple[int, str | None]:
    """How many boxes the answer holds, and the answer; None leaves the image out."""
    answer = codec.encode(record.quads, record.labels, record.wh)
    if not answer:
        return 0, None
    if count_tokens(answer) <= max_tokens:
        return len(record.labels), answer
    if over_long == "skip":
        return 0, None
    if over_long == "error":
        raise DataError(
            f"{record.image}: the answer for {len(record.labels)} boxes takes {count_tokens(answer)} tokens, "
            f"more than {max_tokens}; cut smaller tiles, raise language_model_max_length, or set over_long "
            "to drop_boxes or skip"
        )
    # Boxes of one class stand together, so drop from the end of the answer: decoding gives its order.
    low, high = 0, len(record.labels) - 1
    order = _answer_order(record, codec, answer)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(_encode_first(record, codec, order, middle)) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    # Not one box fits: "There are none." would teach a falsehood.
    return (low, _encode_first(record, codec, order, low)) if low else (0, None)


def _answer_order(record: ImageRecord, codec: BoxCodec, answer: str) -> list[int]:
    """Indices of the record's boxes by class in the order in which the answer names classes."""
    named = list(dict.fromkeys(codec.decode(answer, record.wh).labels))
    return sorted(range(len(record.labels)), key=lambda i: named.index(record.labels[i]))


def _encode_first(record: ImageRecord, codec: BoxCodec, order: Sequence[int], count: int) -> str:
    kept = record.select(sorted(order[:count]))
    return codec.encode(kept.quads, kept.labels, record.wh)
