"""What comes with the package besides code: the pretrained model ``tiny`` (docs/model-card.md)."""

from __future__ import annotations

from pathlib import Path

TINY = "tiny"
"""Name of the embedded model, wherever a run directory may be named."""


def model_path(model: str | Path) -> Path:
    """The folder that ``model`` names: the text ``tiny`` is the embedded model, anything else a path."""
    return Path(__file__).parent / TINY if model == TINY else Path(model)
