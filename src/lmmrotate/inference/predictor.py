"""Images in, detections out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lmmrotate.assets import TINY, model_path
from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.registry import codec_from_json
from lmmrotate.data.images import read_image, to_rgb
from lmmrotate.data.predictions import PredictionsHeader
from lmmrotate.data.records import Prediction
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.inference.scores import box_scores
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RUN_FILE, RunInfo, read_run, weights_digest

DEVICES = ("cpu", "cuda", "mps", "xpu")

ImageInput = str | Path | Image.Image | np.ndarray


class Predictor:
    """A fine-tuned model that finds oriented objects in images of its own tile size.

    Example:
        >>> predictor = Predictor.from_run("runs/harbours")  # doctest: +SKIP
        >>> predictions = predictor.predict(["port.png"])    # doctest: +SKIP
        >>> predictions[0].labels, predictions[0].scores     # doctest: +SKIP
    """

    def __init__(self, family: ModelFamily, codec: BoxCodec, info: RunInfo) -> None:
        self._family = family
        self._codec = codec
        self._info = info

    @classmethod
    def from_run(cls, run: str | Path = TINY, *, device: str | None = None) -> Predictor:
        """Load a run directory or one of its checkpoints.

        Args:
            run: the folder; default: ``tiny``, the model that comes with the package.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; default: a GPU where there is one.

        Raises:
            CheckpointError: if ``run`` is not a complete run directory.
            ConfigError: if the device does not exist.
        """
        folder = model_path(run)
        if device and device.split(":")[0] not in DEVICES:
            raise ConfigError(
                f"device is {device!r}; valid: {', '.join(DEVICES)}, with a number as in cuda:1"
            )
        info = read_run(folder)
        try:
            codec = codec_from_json(info.codec)
        except CheckpointError as error:
            raise CheckpointError(f"{folder / RUN_FILE}: {error}") from error
        # Of the file as it is: weights that were exchanged must not pass for those of the training.
        info = replace(info, weights=weights_digest(folder))
        family = load_family(
            str(folder),
            tokens=codec.special_tokens,
            prompt=info.prompt,
            image_square_length=info.image_square_length,
        )
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            family.model.to(name)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
        return cls(family, codec, info)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._codec.classes

    @property
    def header(self) -> PredictionsHeader:
        """The header of a predictions file written by this model."""
        return PredictionsHeader(self._codec.classes, self._info.fingerprint, self._codec.name)

    def predict(
        self,
        images: Sequence[ImageInput],
        *,
        batch_size: int = 8,
        num_beams: int = 1,
        max_new_tokens: int | None = None,
    ) -> list[Prediction]:
        """Find the objects of every image, in order.

        Args:
            images: paths, PIL images of any mode, or arrays (H, W), (H, W, 3) or (H, W, 4) of uint8 or
                uint16. Arrays and PIL images are named by their position, ``0``, ``1``, ….
            batch_size: images a forward pass.
            num_beams: above 1, beam search.
            max_new_tokens: longest answer; default: as long as the model can.

        Raises:
            DataError: naming the first image that cannot be read.
            ConfigError: for a lone path, or numbers below 1.
        """
        if isinstance(images, (str, Path, Image.Image)):
            raise ConfigError("predict takes a list of images; put a single one in brackets")
        for name, value in (
            ("batch_size", batch_size),
            ("num_beams", num_beams),
            ("max_new_tokens", max_new_tokens),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            pictures = [_picture(image) for image in chunk]
            names = [_name(image, start + offset) for offset, image in enumerate(chunk)]
            predictions += self.predict_pictures(
                names, pictures, num_beams=num_beams, max_new_tokens=max_new_tokens
            )
        return predictions

    def predict_pictures(
        self,
        names: Sequence[str],
        pictures: Sequence[Image.Image],
        *,
        num_beams: int = 1,
        max_new_tokens: int | None = None,
    ) -> list[Prediction]:
        """One batch of RGB images that are already in memory."""
        begin = time.perf_counter()
        answers = self._family.generate(pictures, max_new_tokens=max_new_tokens, num_beams=num_beams)
        seconds = (time.perf_counter() - begin) / max(1, len(pictures))
        predictions: list[Prediction] = []
        for name, picture, answer in zip(names, pictures, answers, strict=True):
            decoded = self._codec.decode(answer.text, picture.size)
            predictions.append(
                Prediction(
                    image=name,
                    width=picture.width,
                    height=picture.height,
                    text=answer.text,
                    quads=decoded.quads,
                    labels=decoded.labels,
                    scores=box_scores(answer, decoded.spans),
                    problems=decoded.problems,
                    truncated=answer.truncated,
                    seconds=seconds,
                )
            )
        return predictions


def _picture(image: ImageInput) -> Image.Image:
    return read_image(Path(image)) if isinstance(image, (str, Path)) else to_rgb(image)


def _name(image: ImageInput, position: int) -> str:
    return Path(image).as_posix() if isinstance(image, (str, Path)) else str(position)
