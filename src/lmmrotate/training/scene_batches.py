"""Batches for the stages of pretraining, made from synthetic scenes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from PIL import Image

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.loc_tokens import corner_order
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError
from lmmrotate.models.cells import NUMBERS, CellTargets, cell_targets
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.preprocessing import SquareResize
from lmmrotate.training.answer_places import AnswerPlaces
from lmmrotate.training.scenes import Sample, class_indices
from lmmrotate.training.simulated_cells import simulate_cells


class VisionBatches:
    """Pictures, and what each cell should say about them."""

    def __init__(self, classes: Sequence[str], preprocess: SquareResize, grid: int) -> None:
        self._classes = classes
        self._preprocess = preprocess
        self._grid = grid

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Inputs of ``VisionStage``."""
        kinds = torch.zeros(len(samples), self._grid**2, dtype=torch.long)
        numbers = torch.zeros(len(samples), self._grid**2, NUMBERS)
        for index, sample in enumerate(samples):
            target = targets_of(sample.record, self._classes, self._grid)
            cells = torch.from_numpy(target.cells)
            kinds[index, cells] = torch.from_numpy(target.classes) + 1
            numbers[index, cells] = torch.from_numpy(target.numbers)
        pictures = [Image.fromarray(sample.pixels) for sample in samples if sample.pixels is not None]
        return {
            "pixel_values": self._preprocess(pictures),
            "cell_classes": kinds,
            "cell_numbers": numbers,
        }


class AnswerBatches:
    """Answers, and where in the image and in the answer the boxes are."""

    def __init__(self, family: Florence2Family, codec: BoxCodec) -> None:
        self._family = family
        self._codec = codec
        self._places = AnswerPlaces(family.tokenizer, codec)

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """The arguments of ``Answering`` that are about answers."""
        records = [sample.record for sample in samples]
        texts = [self._codec.encode(record.quads, record.labels, record.wh) for record in records]
        labels = self._family.answer_labels(texts)
        targets = [targets_of(record, self._codec.classes, self._family.grid) for record in records]
        cells = [np.column_stack([np.full(len(t.cells), i), t.cells]) for i, t in enumerate(targets)]
        bins = [
            self._codec.coordinates(record.quads[target.boxes], record.wh)
            for record, target in zip(records, targets, strict=True)
        ]
        steps = [
            [places[tuple(box)] for box in boxes.tolist()]
            for places, boxes in zip(map(self._places.boxes, labels), bins, strict=True)
        ]
        return {
            "labels": labels,
            "label_circular": self._places.circular(labels),
            "object_cells": torch.from_numpy(np.concatenate(cells)),
            "object_bins": torch.from_numpy(np.concatenate(bins)),
            "object_steps": torch.tensor(list(chain.from_iterable(steps)), dtype=torch.long),
        }


class LanguageBatches:
    """Imitated cells and answers; the imitation differs from batch to batch and repeats with the scenes."""

    def __init__(self, answers: AnswerBatches, classes: Sequence[str], grid: int) -> None:
        self._answers = answers
        self._classes = classes
        self._grid = grid

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Inputs of ``LanguageStage``."""
        cells = [
            simulate_cells(
                targets_of(sample.record, self._classes, self._grid),
                len(self._classes),
                self._grid,
                np.random.default_rng(sample.number),
            )
            for sample in samples
        ]
        return {"cells": torch.from_numpy(np.stack(cells)), **self._answers(samples)}


class JointBatches:
    """Pictures, cells and answers."""

    def __init__(self, vision: VisionBatches, answers: AnswerBatches) -> None:
        self._vision = vision
        self._answers = answers

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Inputs of ``JointStage``."""
        return {**self._vision(samples), **self._answers(samples)}


def targets_of(record: ImageRecord, classes: Sequence[str], grid: int) -> CellTargets:
    """What the cells of a square image hold.

    Raises:
        DataError: if the image is not square.
    """
    if record.width != record.height:
        raise DataError(f"{record.image}: cells need square images, got {record.width} x {record.height} px")
    return cell_targets(corner_order(record.quads), class_indices(record, classes), record.width, grid)
