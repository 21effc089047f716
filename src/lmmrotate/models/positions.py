"""Growing a Florence-2's position tables, as the published system does it (golden j_pos_embed_resize)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import Florence2ForConditionalGeneration

_NEW_ROWS_STD = 0.02


@torch.no_grad()
def grow_image_positions(model: Florence2ForConditionalGeneration, grid: int) -> None:
    """Row and column tables for ``grid`` cells a side, interpolated linearly so that first and last stay.

    Tables that are long enough stay as they are: a smaller image uses their beginning.
    """
    vision = model.config.vision_config
    if grid <= vision.max_position_embeddings:
        return
    tables = model.model.multi_modal_projector.image_position_embed
    for name in ("row_embeddings", "column_embeddings"):
        old = getattr(tables, name).weight
        grown = functional.interpolate(old.T[None], size=grid, mode="linear", align_corners=True)[0].T
        getattr(tables, name).weight = nn.Parameter(grown.contiguous())
        getattr(tables, name).num_embeddings = grid
    vision.max_position_embeddings = grid


@torch.no_grad()
def grow_text_positions(model: Florence2ForConditionalGeneration, positions: int) -> int:
    """Encoder and decoder tables for ``positions`` tokens; new rows are random, normal with spread 0.02.

    Returns:
        How many rows of each table are old ones; the offset rows that BART puts in front are among them.
    """
    language = model.model.language_model
    old = language.encoder.embed_positions.num_embeddings
    missing = positions - model.config.text_config.max_position_embeddings
    if missing <= 0:
        return int(old)
    for part in (language.encoder, language.decoder):
        table = part.embed_positions
        rows = torch.randn(missing, table.embedding_dim, device=table.weight.device) * _NEW_ROWS_STD
        table.weight = nn.Parameter(torch.cat([table.weight, rows.to(table.weight.dtype)]))
        table.num_embeddings = len(table.weight)
    model.config.text_config.max_position_embeddings = positions
    return int(old)
