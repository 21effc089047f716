"""Which checkpoints of an interrupted run can be trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""Folder of a run directory under which Trainer keeps its checkpoints."""

AUXILIARY = "auxiliary"
"""Folder of a checkpoint for weights that are not the model's: those beside it are the model."""


def last_complete_checkpoint(run_folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None.

    Trainer writes ``trainer_state.json`` after weights, optimizer, scheduler and random state, so a
    checkpoint in which it can be parsed is complete; a run killed while saving leaves one that is not.
    """
    for folder in sorted(_folders(run_folder), key=_step, reverse=True):
        if _is_complete(folder):
            return folder
    return None


def remove_incomplete_checkpoints(run_folder: Path) -> list[str]:
    """Delete half-written checkpoints; returns their names."""
    broken = [folder for folder in _folders(run_folder) if not _is_complete(folder)]
    for folder in broken:
        shutil.rmtree(folder)
    return [folder.name for folder in broken]


def _folders(run_folder: Path) -> list[Path]:
    found = (run_folder / CHECKPOINTS).glob("checkpoint-*")
    return [folder for folder in found if folder.is_dir() and folder.name.split("-")[1].isdigit()]


def _step(folder: Path) -> int:
    return int(folder.name.split("-")[1])


def _is_complete(folder: Path) -> bool:
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("global_step") == _step(folder)
