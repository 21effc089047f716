"""The parts of a Florence-2 as modules of their own: each is pretrained before they are joined."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import Florence2ForConditionalGeneration
from transformers.models.bart.modeling_bart import shift_tokens_right

from lmmrotate.models.base import IGNORE_INDEX
from lmmrotate.models.cells import CORNERS, NUMBERS
from lmmrotate.models.location_loss import CellLoss, PointerLoss, answer_loss

OBJECT_WEIGHT = 4.0
"""How much more a cell with an object counts than one of the many without."""
_BEND = 0.1  # cells; where the loss of a number turns from square to linear


class VisionStage(nn.Module):
    """Vision tower with a linear head: every cell says the class of its object and where its corners are.

    The head is linear so that it can become part of the projector afterwards.
    """

    def __init__(self, model: Florence2ForConditionalGeneration, classes: int) -> None:
        super().__init__()
        self.tower = model.model.vision_tower
        self.head = nn.Linear(model.config.vision_config.embed_dim[-1], 1 + classes + NUMBERS)

    def forward(
        self, pixel_values: torch.Tensor, cell_classes: torch.Tensor, cell_numbers: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            pixel_values: (B, 3, S, S).
            cell_classes: (B, C), 0 for no object, else 1 + class index.
            cell_numbers: (B, C, NUMBERS); read only where there is an object.

        Returns:
            ``loss``, and ``cells`` (B, C, 1 + classes + NUMBERS).
        """
        features = self.tower(pixel_values).last_hidden_state
        cells = self.head(features.flatten(2).transpose(1, 2))
        return {"loss": cell_head_loss(cells, cell_classes, cell_numbers), "cells": cells}


class Answering(nn.Module):
    """Encoder and decoder on image features, with answer loss and cell loss."""

    def __init__(
        self,
        model: Florence2ForConditionalGeneration,
        prompt_ids: torch.Tensor,
        location_ids: torch.Tensor,
        circular: tuple[bool, ...],
    ) -> None:
        """
        Args:
            model: gives its language model, which is trained in place.
            prompt_ids: (P,) what follows the image.
            location_ids: (bins,).
            circular: for each number of a box, whether it wraps around.
        """
        super().__init__()
        self.language = model.model.language_model
        self.cell_loss = CellLoss(model.config.text_config.d_model, len(circular))
        self.pointer_loss = PointerLoss(model.config.text_config.d_model)
        self.sigma_bins = 0.0
        self._prompt_ids: torch.Tensor
        self._location_ids: torch.Tensor
        self._circular: torch.Tensor
        self.register_buffer("_prompt_ids", prompt_ids, persistent=False)
        self.register_buffer("_location_ids", location_ids, persistent=False)
        self.register_buffer("_circular", torch.tensor(circular), persistent=False)
        self._start = model.config.text_config.decoder_start_token_id

    def forward(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        label_circular: torch.Tensor,
        object_cells: torch.Tensor,
        object_bins: torch.Tensor,
        object_steps: torch.Tensor,
    ) -> torch.Tensor:
        """
        Args:
            features: (B, 1 + C, d) as the projector gives them: the mean of all cells, then each.
            labels: (B, T), not shifted, padded with ``IGNORE_INDEX``.
            label_circular: (B, T) bool, tokens that wrap around.
            object_cells: (N, 2), image and cell of every object.
            object_bins: (N, numbers).
            object_steps: (N,), where in ``labels`` the first number of every object stands.
        """
        prompt = self.language.shared(self._prompt_ids).expand(len(features), -1, -1)
        states = self.language.encoder(inputs_embeds=torch.cat([features, prompt], dim=1)).last_hidden_state
        counts = labels != IGNORE_INDEX
        written = self.language.decoder(
            input_ids=shift_tokens_right(labels, self.language.config.pad_token_id, self._start),
            encoder_hidden_states=states,
            use_cache=False,
            output_hidden_states=True,
        )
        table = self.language.shared.weight
        loss = answer_loss(
            written.last_hidden_state[counts] @ table.T,
            labels[counts],
            self._location_ids,
            self.sigma_bins,
            label_circular[counts],
        )
        images, cells = object_cells.T
        seen = states[:, 1 : features.shape[1]]  # the first token is the mean
        centres = seen[images, cells]
        loss += self.cell_loss(
            centres, object_bins, table[self._location_ids], self.sigma_bins, self._circular
        )
        chosen = written.hidden_states[-2]  # one layer is left to read what has been chosen
        loss += self.pointer_loss(chosen[images, object_steps], seen, images, cells)
        return loss


class LanguageStage(nn.Module):
    """The language model learns to read cells and to write answers, without any image."""

    def __init__(self, model: Florence2ForConditionalGeneration, answering: Answering, classes: int) -> None:
        super().__init__()
        self.norm = model.model.multi_modal_projector.image_proj_norm
        self.answering = answering
        width = answering.language.config.d_model
        self.reader = nn.Linear(1 + classes + NUMBERS, width, bias=False)
        nn.init.normal_(self.reader.weight, std=self.reader.in_features**-0.5)

    def forward(self, cells: torch.Tensor, **answers: torch.Tensor) -> dict[str, torch.Tensor]:
        """``cells`` (B, C, 1 + classes + NUMBERS) as the vision stage's head gives them."""
        read = self.reader(cells)
        features = self.norm(torch.cat([read.mean(dim=1, keepdim=True), read], dim=1))
        return {"loss": self.answering(features, **answers)}


class JointStage(nn.Module):
    """All parts together; the head on the vision tower goes on telling it what to see."""

    def __init__(
        self, model: Florence2ForConditionalGeneration, answering: Answering, head: nn.Linear
    ) -> None:
        super().__init__()
        self.model = model
        self.answering = answering
        self.head = head

    def forward(
        self,
        pixel_values: torch.Tensor,
        cell_classes: torch.Tensor,
        cell_numbers: torch.Tensor,
        **answers: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        features = self.model.model.vision_tower(pixel_values).last_hidden_state
        cells = self.head(features.flatten(2).transpose(1, 2))
        loss = cell_head_loss(cells, cell_classes, cell_numbers)
        return {"loss": loss + self.answering(self.model.model.multi_modal_projector(features), **answers)}


@torch.no_grad()
def join(model: Florence2ForConditionalGeneration, head: nn.Linear, reader: nn.Linear) -> None:
    """Make the projector do what the vision head and the language model's reader did one after the other.

    Without bias of its own, the projector takes the head's from its position tables, which become
    constant: the place of a cell is told by the encoder's positions alone.
    """
    projector = model.model.multi_modal_projector
    projector.image_projection.weight.copy_(reader.weight @ head.weight)
    constant = (
        torch.linalg.pinv(head.weight) @ head.bias - projector.visual_temporal_embed.pos_idx_to_embed[0]
    )
    tables = projector.image_position_embed
    columns = tables.column_embeddings.embedding_dim  # the first channels are the column's
    tables.column_embeddings.weight.copy_(constant[:columns].expand_as(tables.column_embeddings.weight))
    tables.row_embeddings.weight.copy_(constant[columns:].expand_as(tables.row_embeddings.weight))


def cell_head_loss(
    cells: torch.Tensor, cell_classes: torch.Tensor, cell_numbers: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the class plus smooth L1 of the numbers; shapes as in ``VisionStage.forward``.

    A number counts by the inverse root of the object's half width: what a small object suffers from is
    nothing to a large one.
    """
    logits, numbers = cells[..., :-NUMBERS], cells[..., -NUMBERS:]
    weight = torch.full((logits.shape[-1],), OBJECT_WEIGHT, device=logits.device)
    weight[0] = 1.0
    loss = functional.cross_entropy(logits.flatten(0, 1), cell_classes.flatten(), weight)
    objects = cell_classes > 0
    if not objects.any():
        return loss + 0 * numbers.sum()  # every weight has a gradient, which several processes rely on
    wanted = cell_numbers[objects]
    error = functional.smooth_l1_loss(numbers[objects], wanted, beta=_BEND, reduction="none")
    importance = half_width(wanted).clamp(0.1, 4.0).rsqrt()[:, None]
    return loss + 2 * (importance * error).mean()


def half_width(numbers: torch.Tensor) -> torch.Tensor:
    """Half the short side of boxes (N,), in cells, from their numbers (N, NUMBERS)."""
    xx, yy, xy = numbers[:, CORNERS : CORNERS + 3].unbind(dim=1)
    half: torch.Tensor = (xx + yy) / 2 - torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return half
