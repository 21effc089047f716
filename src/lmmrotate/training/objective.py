"""What fine-tuning minimises beyond the model's own loss: location smoothing and the auxiliary cell loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lmmrotate.codec.base import BoxCodec
from lmmrotate.errors import ConfigError
from lmmrotate.models.base import IGNORE_INDEX, ModelFamily
from lmmrotate.models.cells import cell_targets
from lmmrotate.models.location_loss import CellLoss, answer_loss
from lmmrotate.training.answer_places import AnswerPlaces

_CELL_LOSS = "cell_loss"  # its name while it is part of the model


class Objective:
    """Answer loss with Gaussian targets for location tokens, plus the cell loss where it is wanted.

    The cell loss has weights of its own: they become a module of the model, so that every kind of
    distributed training finds them.
    """

    def __init__(self, family: ModelFamily, codec: BoxCodec, smoothing_bins: float, with_cells: bool) -> None:
        """
        Args:
            smoothing_bins: standard deviation of the targets; 0 for one-hot targets.
            with_cells: add the auxiliary cell loss.
        """
        self._family = family
        self._codec = codec
        self._smoothing_bins = smoothing_bins
        if smoothing_bins and not codec.special_tokens:
            raise ConfigError(
                f"location_smoothing needs location tokens; response_format {codec.name} spells its numbers"
            )
        if with_cells and not family.grid:
            raise ConfigError(
                "cell_loss needs a model with an encoder whose cells have their places: florence2"
            )
        self._places = AnswerPlaces(family.tokenizer, codec)
        self._cell_loss: CellLoss | None = None
        if with_cells:
            width = family.model.get_input_embeddings().embedding_dim
            self._cell_loss = CellLoss(width, len(codec.circular))
            family.model.add_module(_CELL_LOSS, self._cell_loss)

    def targets(self, labels: torch.Tensor, answers: Sequence[str]) -> dict[str, torch.Tensor]:
        """What the loss needs to know about a batch besides ``labels`` (B, T) of the ``answers``."""
        circular = {"label_circular": self._places.circular(labels)}
        if self._cell_loss is None:
            return circular
        side, grid = self._family.image_square_length, self._family.grid
        cells, bins = [], []
        for image, answer in enumerate(answers):
            quads = self._codec.decode(answer, (side, side)).quads
            found = cell_targets(quads, [0] * len(quads), side, grid)
            cells.append(np.column_stack([np.full(len(found.cells), image), found.cells]))
            bins.append(self._codec.coordinates(quads[found.boxes], (side, side)))
        return circular | {
            "object_cells": torch.from_numpy(np.concatenate(cells)),
            "object_bins": torch.from_numpy(np.concatenate(bins)),
        }

    def own_weights(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of the cell loss among a model's."""
        return {name: tensor for name, tensor in state.items() if name.startswith(_CELL_LOSS + ".")}

    def without_own_weights(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of a model without those of the cell loss."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(_CELL_LOSS + ".")}

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        targets: Mapping[str, torch.Tensor],
        tokens: torch.Tensor,
        objects: torch.Tensor,
    ) -> torch.Tensor:
        """This batch's part of the mean over an update's tokens (plus the mean over its objects).

        Args:
            outputs: of the model.
            labels: (B, T).
            targets: as ``targets`` made them.
            tokens, objects: how many the whole update has.
        """
        ids = self._places.ids.to(labels.device)
        counts = labels != IGNORE_INDEX
        loss = answer_loss(
            outputs.logits[counts],
            labels[counts],
            ids,
            self._smoothing_bins,
            targets["label_circular"][counts],
        )
        loss = loss * (counts.sum() / tokens)
        if self._cell_loss is not None:
            images, cells = targets["object_cells"].T
            share = len(cells) / objects.clamp(min=1)
            loss = loss + share * self._cell_loss(
                self._family.cell_states(outputs)[images, cells],
                targets["object_bins"],
                self._family.model.get_input_embeddings().weight[ids],
                self._smoothing_bins,
                torch.tensor(self._codec.circular, device=labels.device),
            )
        return loss
