"""Who may write into a run directory: one run, one process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lmmrotate.errors import ConfigError
from lmmrotate.runs import RUN_FILE
from lmmrotate.training.options import Options, differences, read_config

LOCK_FILE = ".lock"


def is_first_process() -> bool:
    """Whether this is the one process, or the first that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def refuse_foreign(stored: Path, options: Options, incidental: Sequence[str], begun: bool) -> None:
    """Refuse a folder that holds anything but this run, unfinished.

    Args:
        stored: the file in the run directory that keeps its options.
        incidental: options that may differ.
        begun: whether there is something to lose if others do.

    Raises:
        ConfigError: saying what is there.
    """
    folder = stored.parent
    if (folder / RUN_FILE).exists():
        raise ConfigError(f"output_dir: {folder} holds a finished run; choose another folder or remove it")
    if stored.exists():
        changed = differences(read_config(type(options), stored, {}), options, incidental)
        if changed and begun:
            raise ConfigError(
                f"output_dir: {folder} holds an unfinished run with other options ({'; '.join(changed)}); "
                "train with the same options to go on, or choose another folder"
            )
    elif folder.exists() and (not folder.is_dir() or any(p.name != LOCK_FILE for p in folder.iterdir())):
        raise ConfigError(f"output_dir: {folder} exists and is not a run directory; choose another folder")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep a second process out of the run directory; the system frees the lock however this one ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"output_dir: another process is training in {folder}") from None
