"""Where checkpoints lie: in folders, or on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from lmmrotate.errors import CheckpointError, first_line


def checkpoint_config(name: str, known: Sequence[str], revision: str | None = None) -> dict[str, Any]:
    """The ``config.json`` of a directory or hub id.

    Args:
        known: names of models that are neither, for the message.

    Raises:
        CheckpointError: if there is none.
    """
    folder = Path(name)
    if folder.is_dir():
        return _local_config(folder)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"{name}: no such directory; give a run directory, a Transformers checkpoint, "
            f"a hub id (owner/name) or one of {', '.join(known)}"
        )
    return _hub_config(name, revision)


def refuse_missing(name: str, keys: Collection[str]) -> None:
    """Raises CheckpointError if weights are missing: Transformers would only warn, and leave them random."""
    if keys:
        some = ", ".join(sorted(keys)[:3])
        raise CheckpointError(f"{name}: {len(keys)} weights are missing: {some}, …")


def _local_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: holds no config.json; is training still running? Finished runs and "
            "their checkpoints/checkpoint-* folders can be loaded"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return config if isinstance(config, dict) else {}


def local_folder(name: str, revision: str | None) -> Path:
    """``name`` itself, or the folder to which the hub's files are downloaded; safetensors go before .bin."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    if not any(folder.glob("*.safetensors")):
        snapshot_download(name, revision=revision, allow_patterns=["pytorch_model*.bin"])
    return folder


def _hub_config(name: str, revision: str | None) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: not found locally or on the hub: {first_line(error)}") from error
    return dict(config)
