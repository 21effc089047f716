"""The shortest way from an image to boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from lmmrotate.assets import TINY
from lmmrotate.data.records import Prediction
from lmmrotate.inference.predictor import ImageInput, Predictor


class Detector:
    """Finds oriented objects in images; without arguments, with the model that comes with the package.

    Example:
        >>> from lmmrotate import Detector
        >>> found = Detector().detect("port.png")   # doctest: +SKIP
        >>> found.labels, found.scores, found.quads  # doctest: +SKIP
    """

    def __init__(self, model: str | Path = TINY, *, device: str | None = None) -> None:
        """
        Args:
            model: a run directory, or ``tiny`` for the embedded model (docs/model-card.md).
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; default: a GPU where there is one.

        Raises:
            CheckpointError: if ``model`` is not a complete run directory.
            ConfigError: if the device does not exist.
        """
        self._predictor = Predictor.from_run(model, device=device)

    @property
    def classes(self) -> tuple[str, ...]:
        """What it can find."""
        return self._predictor.classes

    def detect(self, image: ImageInput) -> Prediction:
        """The objects of one image: a path, a PIL image or an array, as for ``Predictor.predict``.

        Raises:
            DataError: if the image cannot be read.
        """
        return self._predictor.predict([image])[0]

    def detect_many(self, images: Iterable[ImageInput], *, batch_size: int = 8) -> Iterator[Prediction]:
        """The objects of every image, in order, ``batch_size`` images at a time; reads no further ahead."""
        waiting = iter(images)
        while chunk := list(islice(waiting, batch_size)):
            yield from self._predictor.predict(chunk, batch_size=batch_size)
