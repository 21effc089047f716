"""Validation by what counts: answers written as ``predict`` writes them, scored as ``evaluate`` does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import distributed

from lmmrotate.codec.base import BoxCodec
from lmmrotate.data.images import read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.base import ModelFamily
from lmmrotate.runs import RunInfo

_OPTIONS = DecodingOptions(overflow="keep")
"""A model that has not learned to stop would be asked about every image up to 21 times."""


class Validation:
    """A fixed choice of images; processes share them."""

    def __init__(
        self,
        family: ModelFamily,
        codec: BoxCodec,
        info: RunInfo,
        manifests: Sequence[ManifestFile],
        images: int,
        batch_size: int,
    ) -> None:
        """
        Args:
            images: how many, spread evenly over the manifests; 0 for all.
            batch_size: images a forward pass.
        """
        self._predictor = Predictor(family, codec, info)
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
            found += self._predictor.predict_pictures(names, pictures, _OPTIONS)
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
