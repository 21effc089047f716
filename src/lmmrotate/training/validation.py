"""Validation by what counts: objects found as ``predict`` finds them, scored as ``evaluate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import distributed

from lmmrotate.data.images import read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.inference.predictor import Finder
from lmmrotate.training.manifests import open_training_manifests
from lmmrotate.training.run_config import RunConfig


def validation_of(
    config: RunConfig, predictor: Finder, options: Any, classes: Sequence[str]
) -> Validation | None:
    """The validation that the options of a run ask for, if any.

    Args:
        options: how objects are found, for the predictor's kind.
        classes: those of the training data.

    Raises:
        ConfigError: if the data has other classes.
        DataError: as ``open_training_manifests``.
    """
    if not config.eval_data_path:
        return None
    manifests = open_training_manifests(config.eval_data_path, config.eval_image_folder)
    if manifests[0].classes != tuple(classes):
        raise ConfigError(
            f"{manifests[0].path}: its class list differs from that of {config.data_path[0]}: "
            f"{', '.join(manifests[0].classes)} against {', '.join(classes)}"
        )
    batch = config.per_device_train_batch_size
    return Validation(predictor, options, manifests, config.eval_images, batch)


class Validation:
    """A fixed choice of images; processes share them."""

    def __init__(
        self,
        predictor: Finder,
        options: Any,
        manifests: Sequence[ManifestFile],
        images: int,
        batch_size: int,
    ) -> None:
        """
        Args:
            predictor: the model that is trained, as it is at the time.
            options: how it finds objects.
            images: how many, spread evenly over the manifests; 0 for all.
            batch_size: images a forward pass.
        """
        self._predictor = predictor
        self._options = options
        self._batch_size = batch_size
        total = sum(map(len, manifests))
        chosen = set(np.linspace(0, total - 1, min(images or total, total)).round().astype(int).tolist())
        self._items: list[tuple[ManifestFile, ImageRecord]] = []
        place = 0
        for manifest in manifests:
            for index in range(len(manifest)):
                if place in chosen:
                    self._items.append((manifest, manifest[index]))
                place += 1

    def __call__(self) -> dict[str, float]:
        """mF1, mAP and mAP_nc of the model as it is now; the same in every process."""
        rank, processes = (
            (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
        )
        found: list[Prediction] = []
        mine = list(enumerate(self._items))[rank::processes]
        for start in range(0, len(mine), self._batch_size):
            some = mine[start : start + self._batch_size]
            pictures = [read_image(manifest.image_path(record)) for _, (manifest, record) in some]
            names = [str(place) for place, _ in some]
            found += self._predictor.predict_pictures(names, pictures, self._options)
        if processes > 1:
            everybodys: list[list[Prediction]] = [[] for _ in range(processes)]
            distributed.all_gather_object(everybodys, found)
            found = [prediction for one in everybodys for prediction in one]
        header = self._predictor.header
        # Named by place: images of two manifests may have one name.
        records = tuple(
            ImageRecord(str(place), r.width, r.height, r.quads, r.labels, r.difficult)
            for place, (_, r) in enumerate(self._items)
        )
        result = evaluate(
            Manifest("validation", "", header.classes, records),
            Predictions(header, tuple(sorted(found, key=lambda prediction: int(prediction.image)))),
        )
        return {"mF1": result.mf1, "mAP": result.map_11, "mAP_nc": result.map_nc}
