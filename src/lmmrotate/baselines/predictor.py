"""A trained detector behind the interface of models that write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lmmrotate.baselines.canvas import fitted_wh, on_canvas
from lmmrotate.baselines.detector import Detector, load_detector
from lmmrotate.baselines.finding import FindingOptions, Finds, find
from lmmrotate.data.predictions import PredictionsHeader
from lmmrotate.data.records import Prediction
from lmmrotate.errors import CheckpointError
from lmmrotate.inference.predictor import about_model, local_run, on_device
from lmmrotate.runs import RUN_FILE, RunInfo, read_run, weights_digest

DEFAULT = FindingOptions()


class BaselinePredictor:
    """Finds objects in images; see ``inference.predictor.Finder``."""

    def __init__(self, detector: Detector, info: RunInfo) -> None:
        self._detector = detector
        self._info = info

    @classmethod
    def from_run(cls, run: str | Path, *, device: str | None = None) -> BaselinePredictor:
        """Load a run directory or one of its checkpoints.

        Args:
            run: the folder, or the hub id (owner/name) of one that was uploaded.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; default: a GPU where there is one.

        Raises:
            CheckpointError: if ``run`` is not the complete run directory of a detector.
            ConfigError: if the device does not exist.
        """
        folder = local_run(run)
        info = read_run(folder)
        if not info.detector:
            raise CheckpointError(
                f"{folder}: holds a model that writes, no baseline detector: use lmmrotate predict"
            )
        try:
            detector = load_detector(folder, info.detector)
        except CheckpointError as error:
            raise CheckpointError(f"{folder / RUN_FILE}: {error}") from error
        # Of the file as it is: weights that were exchanged must not pass for those of the training.
        return cls(on_device(detector, device), replace(info, weights=weights_digest(folder)))

    @property
    def classes(self) -> tuple[str, ...]:
        return self._detector.spec.classes

    @property
    def tile_px(self) -> int:
        """Side in pixels of the square tiles that the detector is made for."""
        return self._detector.spec.image_square_length

    @property
    def header(self) -> PredictionsHeader:
        """The header of a predictions file written by this detector, without the options of finding."""
        settings = {**about_model(self._detector, self._info), "arch": self._detector.spec.arch}
        return PredictionsHeader(self.classes, self._info.fingerprint, "", settings)

    def check_shape(self, wh: tuple[int, int]) -> None:
        """Images of any shape are fitted into the square."""

    @torch.inference_mode()
    def predict_pictures(
        self, names: Sequence[str], pictures: Sequence[Image.Image], options: FindingOptions = DEFAULT
    ) -> list[Prediction]:
        """One batch of RGB images that are already in memory."""
        if not pictures:
            return []
        begin = time.perf_counter()
        detector = self._detector.eval()
        canvases = [on_canvas(one, detector.spec) for one in pictures]
        pixels = torch.from_numpy(np.stack(canvases)).to(detector.mean.device)
        found = find(detector.head, detector.look(pixels), options)
        seconds = (time.perf_counter() - begin) / len(pictures)
        return [
            self._prediction(name, picture, some, seconds)
            for name, picture, some in zip(names, pictures, found, strict=True)
        ]

    def _prediction(self, name: str, picture: Image.Image, found: Finds, seconds: float) -> Prediction:
        scale = np.divide(fitted_wh(picture.size, self.tile_px), picture.size)
        return Prediction(
            image=name,
            width=picture.width,
            height=picture.height,
            quads=found.quads / scale,
            labels=tuple(self.classes[number] for number in found.classes),
            scores=tuple(np.clip(found.scores, 0, 1).tolist()),
            seconds=seconds,
        )
