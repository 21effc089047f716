"""Images with their objects, as an epoch shows them: mixed from data sets, and changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from lmmrotate.data.augment import Augmentation, augmented
from lmmrotate.data.images import read_image
from lmmrotate.data.mixing import epoch_items
from lmmrotate.data.records import ImageRecord

UNCHANGED = Augmentation()
Item = TypeVar("Item", covariant=True)


class RecordSource(Protocol):
    """A data set: a manifest, or what has been made of one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ImageRecord: ...

    def image_path(self, record: ImageRecord) -> Path: ...


class RecordDataset(Dataset[Item]):
    """What an epoch shows of one or several data sets; a kind of model says what it makes of an image."""

    def __init__(
        self,
        sources: Sequence[RecordSource],
        *,
        mode: str = "concat",
        weights: Sequence[float] = (),
        augmentation: Augmentation = UNCHANGED,
        seed: int = 0,
    ) -> None:
        """
        Args:
            sources: the data sets.
            mode, weights: how they are mixed (``data.mixing.epoch_items``).
            augmentation: how images are changed; together with the epoch, ``seed`` says all of it.
        """
        self._sources = sources
        self._mode, self._weights = mode, weights
        self._augmentation, self._seed = augmentation, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Show what this epoch, counted from 0, holds; its length is always the same."""
        sizes = [len(source) for source in self._sources]
        self._epoch = epoch
        self._shown = epoch_items(sizes, self._mode, epoch, self._weights)

    def __len__(self) -> int:
        return len(self._shown)

    def record(self, index: int) -> tuple[Path, ImageRecord]:
        """Path of an image, and its objects as the data set has them."""
        dataset, place = map(int, self._shown[index])
        source = self._sources[dataset]
        record = source[place]
        return source.image_path(record), record

    def changed(self, index: int) -> tuple[Path, Image.Image, ImageRecord]:
        """Path of an image, and the image and its objects changed as the epoch and the place in it say.

        Raises:
            DataError: if the image cannot be read, or the manifest has changed since it was opened.
        """
        path, record = self.record(index)
        image = read_image(path)
        if self._augmentation.changes_anything:
            rng = np.random.default_rng([self._seed, self._epoch, index])
            pixels, record = augmented(np.asarray(image), record, self._augmentation, rng)
            image = Image.fromarray(pixels)
        return path, image, record
