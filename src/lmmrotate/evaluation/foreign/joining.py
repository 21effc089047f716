"""What all foreign results need: images and classes by the manifest's names, and scores that are scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import Prediction
from lmmrotate.errors import DataError
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Place = Callable[[int], str]
"""Where the i-th of some detections stands: file and line, or file and entry."""


def among(place: Place, rows: Sequence[int] | Ints) -> Place:
    """Where each of some of the detections stands."""
    return lambda i: place(int(rows[i]))


class Joiner:
    """Finds the manifest's images and classes, and collects what was detected."""

    def __init__(self, manifest: Manifest, path: Path) -> None:
        self.manifest = manifest
        self.path = path
        self._images: dict[str, list[int]] = {}
        for number, record in enumerate(manifest.records):
            name = PurePosixPath(record.image)
            for key in {name.name, name.stem}:
                self._images.setdefault(key, []).append(number)
        for number, record in enumerate(manifest.records):  # a whole path is never ambiguous
            self._images[record.image] = [number]
        self._numbered_classes = ", ".join(f"{i} {label}" for i, label in enumerate(manifest.classes))
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
            found = self._images.get(key, [])
            if len(found) > 1:
                raise DataError(f"{where}: {name!r} may be any of several images: {self._some(found)}")
            if found:
                return found[0]
        valid = self._some(range(len(self.manifest.records)))
        raise DataError(f"{where}: {name!r} is no image of the manifest, which has {valid}")

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

    def add(
        self, image: int, boxes: Floats, labels: npt.ArrayLike, scores: npt.ArrayLike, place: Place
    ) -> None:
        """Detections of an image, which may be added to.

        Args:
            image: its number.
            boxes: (N, 5) rboxes or (N, 8) corners, pixels.
            labels: (N,) numbers of classes.
            scores: (N,).
            place: where they stand.

        Raises:
            DataError: naming the place of the first with a coordinate that is not finite, a label that is no
                class, or a score outside [0, 1].
        """
        numbers = np.asarray(labels, dtype=np.float64)
        shares = np.asarray(scores, dtype=np.float64)
        is_class = (numbers >= 0) & (numbers < len(self.manifest.classes)) & (np.floor(numbers) == numbers)
        _check(np.isfinite(boxes).all(axis=1), "coordinates must be finite", boxes, place)
        _check(is_class, f"a class must be a number of {self._numbered_classes}", numbers, place)
        _check((shares >= 0) & (shares <= 1), "a score must lie in [0, 1]", shares, place)  # NaN does not
        quads = rboxes_to_quads(boxes) if boxes.shape[1] == 5 else boxes.reshape(-1, 4, 2)
        self._found.setdefault(image, []).append((quads, numbers.astype(np.int64), shares))

    def predictions(self) -> Predictions:
        """All that was added, in the manifest's order of images."""
        classes = self.manifest.classes
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
                    labels=tuple(classes[label] for label in labels.tolist()),
                    scores=tuple(scores.tolist()),
                )
            )
        return Predictions(PredictionsHeader(classes, self.path.name), tuple(images))

    def _some(self, numbers: Sequence[int]) -> str:
        names = ", ".join(self.manifest.records[number].image for number in numbers[:3])
        return f"{names}, …" if len(numbers) > 3 else names or "none"


def _check(good: npt.NDArray[np.bool_] | np.bool_, expected: str, values: Floats, place: Place) -> None:
    if not good.all():
        first = int(np.argmin(good))
        raise DataError(f"{place(first)}: {expected}, found {values[first].tolist()}")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
