"""What all foreign results need: images and classes by the manifest's names, and scores that are scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import Prediction
from lmmrotate.errors import DataError
from lmmrotate.geometry.quads import Quads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Joiner:
    """Finds the manifest's images and classes, and collects what was detected."""

    def __init__(self, manifest: Manifest, path: Path) -> None:
        self.manifest = manifest
        self.path = path
        self._images: dict[str, int] = {}
        self._ambiguous: dict[str, int] = {}
        for number, record in enumerate(manifest.records):
            name = PurePosixPath(record.image)
            for key in {record.image, name.name, name.stem}:
                if self._images.setdefault(key, number) != number:
                    self._ambiguous[key] = number
        for number, record in enumerate(manifest.records):  # a whole path is never ambiguous
            self._images[record.image] = number
            self._ambiguous.pop(record.image, None)
        self._classes = {label: number for number, label in enumerate(manifest.classes)}
        for number, label in enumerate(manifest.classes):
            self._classes.setdefault(_plain(label), number)
        self._found: dict[int, list[tuple[Quads, Ints, Floats]]] = {}

    def image(self, name: str, where: str) -> int:
        """The number of an image of the manifest, by its path, its name, or its name without ending.

        Raises:
            DataError: naming ``where``, if there is none or more than one.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        for key in (name, path.name, path.stem):
            if key in self._ambiguous:
                raise DataError(f"{where}: {name!r} may be any of several images of the manifest")
            if key in self._images:
                return self._images[key]
        known = ", ".join(record.image for record in self.manifest.records[:3])
        raise DataError(f"{where}: {name!r} is no image of the manifest, which has {known}, …")

    def has_image(self, name: str) -> bool:
        """Whether exactly one image goes by this name."""
        return name in self._images and name not in self._ambiguous

    def label(self, name: str, where: str) -> int:
        """The number of a class; case and separators do not matter.

        Raises:
            DataError: naming ``where``, for a class that the manifest does not have.
        """
        number = self._classes.get(name, self._classes.get(_plain(name)))
        if number is None:
            valid = ", ".join(self.manifest.classes)
            raise DataError(f"{where}: unknown class {name!r}; valid: {valid}")
        return number

    def add(self, image: int, quads: Quads, labels: npt.ArrayLike, scores: npt.ArrayLike, where: str) -> None:
        """Detections of an image, (N, 4, 2) with N labels and scores; an image may be added to.

        Raises:
            DataError: naming ``where``, for lengths that differ, a label that is no class, a coordinate that
                is not finite, and a score outside [0, 1].
        """
        given = np.asarray(labels, dtype=np.float64)
        labels_, scores_ = np.nan_to_num(given).astype(np.int64), np.asarray(scores, dtype=np.float64)
        if (labels_ != given).any():
            raise DataError(f"{where}: classes must be whole numbers, found {given[labels_ != given][0]:g}")
        if not len(quads) == labels_.size == scores_.size:
            raise DataError(
                f"{where}: {len(quads)} boxes, {labels_.size} labels and {scores_.size} scores do not agree"
            )
        count = len(self.manifest.classes)
        if labels_.size and not 0 <= labels_.min() <= labels_.max() < count:
            raise DataError(
                f"{where}: class numbers must lie in 0…{count - 1}, found {labels_.min()} to "
                f"{labels_.max()}; classes: {', '.join(self.manifest.classes)}"
            )
        if not np.isfinite(quads).all():
            raise DataError(f"{where}: a coordinate is not finite")
        odd = scores_[~((scores_ >= 0) & (scores_ <= 1))]  # NaN included
        if odd.size:
            raise DataError(f"{where}: scores must lie in [0, 1], found {odd[0]:g}")
        self._found.setdefault(image, []).append((quads, labels_.reshape(-1), scores_.reshape(-1)))

    def predictions(self) -> Predictions:
        """All that was added, in the manifest's order of images."""
        images = []
        for number in sorted(self._found):
            record = self.manifest.records[number]
            quads, labels, scores = (
                np.concatenate(parts) for parts in zip(*self._found[number], strict=True)
            )
            images.append(
                Prediction(
                    record.image,
                    *record.wh,
                    quads=quads,
                    labels=tuple(self.manifest.classes[label] for label in labels.tolist()),
                    scores=tuple(scores.tolist()),
                )
            )
        return Predictions(PredictionsHeader(self.manifest.classes, self.path.name), tuple(images))


def numbers(values: Iterable[str], where: str) -> Floats:
    """Text as numbers.

    Raises:
        DataError: naming ``where`` and what is none.
    """
    items = list(values)
    try:
        return np.array(list(map(float, items)))
    except ValueError:
        odd = next(item for item in items if not _is_number(item))
        raise DataError(f"{where}: expected a number, found {odd!r}") from None


def fields_of_lines(text: str, count: int, expected: str, where: str) -> Sequence[str]:
    """All fields of a table without empty lines, ``count`` in each.

    Raises:
        DataError: naming the line that has another number of fields, and what was ``expected``.
    """
    items = text.split()
    lines = [line for line in text.splitlines() if line.strip()]
    if len(items) != count * len(lines):
        for number, line in enumerate(text.splitlines(), start=1):
            found = len(line.split())
            if found not in (0, count):
                raise DataError(f"{where}:{number}: expected {expected}, found {found} fields")
    return items


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
