"""The shortest way from an image to boxes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from lmmrotate.assets import TINY
from lmmrotate.data.predictions import read_predictions
from lmmrotate.data.rasters import georeference_of, overview
from lmmrotate.errors import DataError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.found import Found
from lmmrotate.inference.predictor import DEFAULT, ImageInput, Predictor, as_picture
from lmmrotate.inference.scenes import SceneOptions, predict_scenes_to_file

_WHOLE = SceneOptions()
_DRAWN_SIDE_PX = 2500  # of a scene's picture


class Detector:
    """Finds oriented objects in images; without arguments, with the model that comes with the package.

    Threads may share one.

    Example:
        >>> from lmmrotate import Detector
        >>> found = Detector().detect("port.png")   # doctest: +SKIP
        >>> found.labels, found.scores, found.quads  # doctest: +SKIP
        >>> found.draw().save("drawn.png")           # doctest: +SKIP
    """

    def __init__(
        self, model: str | Path = TINY, *, device: str | None = None, options: DecodingOptions = DEFAULT
    ) -> None:
        """
        Args:
            model: a run directory, the hub id (owner/name) of one, or ``tiny`` for the embedded model
                (docs/model-card.md).
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; default: a GPU where there is one.
            options: how answers are written.

        Raises:
            CheckpointError: if ``model`` is not a complete run directory.
            ConfigError: if the device does not exist.
        """
        self._predictor = Predictor.from_run(model, device=device)
        self._options = options

    @property
    def classes(self) -> tuple[str, ...]:
        """What it can find."""
        return self._predictor.classes

    def detect(self, image: ImageInput) -> Found:
        """The objects of one image, looked at as a whole: a path, a PIL image or an array, as for
        ``Predictor.predict``.

        Raises:
            DataError: if the image cannot be read.
        """
        return self._found([image])[0]

    def detect_many(self, images: Iterable[ImageInput], *, batch_size: int = 8) -> Iterator[Found]:
        """The objects of every image, in order, ``batch_size`` images at a time; reads no further ahead."""
        waiting = iter(images)
        while chunk := list(islice(waiting, batch_size)):
            yield from self._found(chunk)

    def detect_scene(self, path: str | Path, options: SceneOptions = _WHOLE, *, batch_size: int = 8) -> Found:
        """The objects of an image file of any size, tile by tile, in its own pixels.

        What was found in the tiles lies in a temporary folder meanwhile; ``lmmrotate predict`` keeps it, and
        goes on after an interruption.

        Raises:
            DataError: if the image, or a part of it, cannot be read.
        """
        path = Path(path)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "found.jsonl"
            images = [(path.as_posix(), path)]
            result = predict_scenes_to_file(
                self._predictor,
                images,
                output,
                options,
                batch_size=batch_size,
                options=self._options,
                progress=False,
            )
            if result.unreadable:
                raise DataError(result.unreadable[0])
            prediction = read_predictions(output).images[0]
        return Found.of(
            prediction,
            classes=self.classes,
            place=georeference_of(path),
            picture=partial(_small_copy, path),
        )

    def _found(self, images: list[ImageInput]) -> list[Found]:
        predictions = self._predictor.predict(images, batch_size=len(images), options=self._options)
        places = [georeference_of(Path(i)) if isinstance(i, (str, Path)) else None for i in images]
        return [
            Found.of(prediction, classes=self.classes, place=place, picture=partial(as_picture, image))
            for image, prediction, place in zip(images, predictions, places, strict=True)
        ]


def _small_copy(path: Path) -> Image.Image:
    return Image.fromarray(overview(path, _DRAWN_SIDE_PX))
