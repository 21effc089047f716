"""How several processes share the work: each takes the chunks that are its own, none waits for another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from lmmrotate.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """One of ``count`` processes."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Among the processes on this machine: which GPU is its own."""

    def takes(self, chunks: Sequence[Sequence[str]]) -> list[int]:
        """The numbers of the chunks that are this process's own, rising.

        Chunks are dealt out by their content, the names of their images: all get as many, and where a chunk
        stands in the list does not matter.
        """
        order = sorted(range(len(chunks)), key=lambda number: _digest(chunks[number]))
        return sorted(order[self.rank :: self.count])


def share_from_environment() -> Share:
    """What torchrun (``RANK``, ``WORLD_SIZE``) or Slurm's srun says about this process; alone otherwise.

    Raises:
        ConfigError: for numbers that make no sense.
    """
    for names in (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        # Set by srun alone: what sbatch sets would make a lone process in a script one of many.
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ):
        if all(name in os.environ for name in names[:2]):
            rank, count, local = (os.environ.get(name, "0") for name in names)
            try:
                share = Share(int(rank), int(count), int(local))
            except ValueError:
                share = Share(-1)
            if not 0 <= share.rank < share.count:
                raise ConfigError(
                    f"{names[0]} is {rank!r} and {names[1]} {count!r}; expected a number from 0, and a larger"
                )
            return share
    return Share()


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
