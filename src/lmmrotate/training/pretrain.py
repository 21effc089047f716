"""Pretraining a small Florence-2 from random weights on synthetic scenes, in three stages.

End to end, a small model hardly begins to learn. So first the vision tower learns to describe every cell
through a linear head, then the language model learns to write answers from imitated cells, then both are
joined and learn together (recipe and ablations: docs/model-card.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmmrotate.codec.base import BoxCodec
from lmmrotate.models.base import IGNORE_INDEX
from lmmrotate.models.cells import NUMBERS, CellTargets, cell_targets
from lmmrotate.models.pretraining import Answering
from lmmrotate.models.preprocessing import SquareResize
from lmmrotate.training.scenes import Sample, class_indices
from lmmrotate.training.simulated_cells import simulate_cells


class SceneCollator:
    """Samples to the batches of one stage."""

    def __init__(self, tokenizer, codec: BoxCodec, grid: int, side_px: int, *, pictures: bool, answers: bool, seed: int) -> None:
        self._tokenizer = tokenizer
        self._codec = codec
        self._grid = grid
        self._preprocess = SquareResize(side_px)
        self._pictures = pictures
        self._answers = answers
        self._seed = seed
        ids = tokenizer.convert_tokens_to_ids([t for t in codec.special_tokens if t.startswith("<loc_")])
        self._bins = {token: index for index, token in enumerate(ids)}

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        grid, count = self._grid, len(self._codec.classes)
        records = [record for _, record in samples]
        targets = [
            cell_targets(corner_order(r.quads), class_indices(r, self._codec.classes), r.width, grid) for r in records
        ]
        if self._pictures:
            batch["pixel_values"] = self._preprocess([Image.fromarray(p) for p, _ in samples])
            batch["cell_classes"] = torch.zeros(len(samples), grid * grid, dtype=torch.long)
            batch["cell_numbers"] = torch.zeros(len(samples), grid * grid, NUMBERS)
            for index, target in enumerate(targets):
                cells = torch.from_numpy(target.cells)
                batch["cell_classes"][index, cells] = torch.from_numpy(target.classes) + 1
                batch["cell_numbers"][index, cells] = torch.from_numpy(target.numbers)
        else:
            rng = np.random.default_rng([self._seed, *(len(r.labels) for r in records), int(1e6*sum(float(r.quads.sum()) for r in records)) % 2**63])
            batch["cells"] = torch.from_numpy(np.stack([simulate_cells(t, count, grid, rng) for t in targets]))
        return batch | (self._answer_batch(records, targets) if self._answers else {})

    def _answer_batch(self, records, targets):
        texts = [self._codec.encode(r.quads, r.labels, r.wh) for r in records]
        rows = [self._tokenizer(text).input_ids for text in texts]
        length = max(map(len, rows))
        labels = torch.full((len(rows), length), IGNORE_INDEX)
        circular = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            labels[index, : len(row)] = torch.tensor(row)
            circular[index, : len(row)] = torch.tensor(self._wraps(row))
        cells = [np.column_stack([np.full(len(t.cells), i), t.cells]) for i, t in enumerate(targets)]
        bins = [self._codec.coordinates(r.quads[t.boxes], r.wh) for r, t in zip(records, targets, strict=True)]
        return {
            "labels": labels,
            "label_circular": circular,
            "object_cells": torch.from_numpy(np.concatenate(cells)),
            "object_bins": torch.from_numpy(np.concatenate(bins)),
        }

    def _wraps(self, row):
        circular, number, wraps = self._codec.circular, 0, []
        for token in row:
            place = token in self._bins
            wraps.append(place and circular[number % len(circular)])
            number = number + 1 if place else 0
        return wraps


class SigmaSchedule(TrainerCallback):
    """Location smoothing from a wide to a narrow Gaussian, in equal ratios over the first 80 % of the steps."""

    def __init__(self, answering: Answering, first: float, last: float) -> None:
        self._answering, self._first, self._last = answering, first, last

    def on_step_begin(self, args, state, control, **kwargs):
        share = min(1.0, state.global_step / state.max_steps / 0.8)
        self._answering.sigma_bins = self._first * (self._last / self._first) ** share
from lmmrotate.codec.loc_tokens import corner_order
