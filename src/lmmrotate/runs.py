"""The run directory: a Transformers checkpoint plus ``lmmrotate.json``.

``lmmrotate.json`` holds what the weights alone do not tell (class list, codec, prompt, image size) so
that ``predict`` needs nothing but the directory. It is written last: a folder that has it is complete.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from lmmrotate import __version__
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.errors import CheckpointError

RUN_FILE = "lmmrotate.json"
KIND = "lmmrotate-run"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunInfo:
    """What ``lmmrotate.json`` holds."""

    codec: Mapping[str, Any]
    """The codec as ``BoxCodec.to_json`` wrote it, class list included; empty for a detector."""
    prompt: str
    image_square_length: int
    """Side in pixels of the tiles that the model is made for."""
    system_prompt: str = ""
    detector: Mapping[str, Any] = field(default_factory=dict)
    """Architecture, sizes and class list of a detector that does not write (``baselines``)."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The training options."""
    data: tuple[Mapping[str, Any], ...] = ()
    """One entry a manifest: data set, split, images, fingerprint."""
    versions: Mapping[str, str] = field(default_factory=dict)
    weights: str = ""
    """SHA-256 over the weight files."""
    trained_seconds: float = 0.0
    """How long training has taken, interruptions left out; 0 where nobody has noted it."""

    @property
    def fingerprint(self) -> str:
        """Names the model in predictions files: 16 hex digits over weights, codec and preprocessing."""
        parts = [self.weights, self.codec, self.prompt, self.image_square_length]
        parts += [part for part in (self.system_prompt, self.detector) if part]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write ``folder/lmmrotate.json`` atomically."""
        body = {"kind": KIND, "schema_version": SCHEMA_VERSION, "fingerprint": self.fingerprint} | asdict(
            self
        )
        text = json.dumps(body, indent=2, ensure_ascii=False, default=str) + "\n"
        write_text_atomic(folder / RUN_FILE, [text])


def read_run(folder: Path) -> RunInfo:
    """Read a run directory's ``lmmrotate.json``.

    Raises:
        CheckpointError: if the folder or the file is missing, or the file does not follow the schema.
    """
    path = folder / RUN_FILE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(_no_run(folder)) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    if not isinstance(body, dict) or body.get("kind") != KIND or body.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: not a run file of this version (kind {KIND!r}, schema_version {SCHEMA_VERSION})"
        )
    try:
        return RunInfo(
            codec=body["codec"],
            prompt=body["prompt"],
            image_square_length=int(body["image_square_length"]),
            system_prompt=body.get("system_prompt", ""),
            detector=body.get("detector", {}),
            config=body["config"],
            data=tuple(body["data"]),
            versions=body["versions"],
            weights=body["weights"],
            trained_seconds=float(body.get("trained_seconds", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error} is missing or of the wrong type") from error


def _no_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: no such run directory"
    checkpoints = [path.parent for path in folder.glob("checkpoints/checkpoint-*/" + RUN_FILE)]
    newest = max(checkpoints, key=lambda c: (len(c.name), c.name), default=None)  # -1000 after -500
    hint = f"; it has unfinished training: try {newest}" if newest else ""
    return f"{folder}: not a run directory (no {RUN_FILE}){hint}"


def weights_digest(folder: Path) -> str:
    """SHA-256 over the folder's safetensors files, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def installed_versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    names = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "pillow")
    return {"lmmrotate": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in names
    }
