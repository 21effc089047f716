"""Ends that were not planned: a signal to go, numbers that are none, a disk that is full."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


def ignore_sigterm(start: Callable[[int], None] | None, worker: int) -> None:
    """First act of a process that reads images: clusters send SIGTERM to every process, and training needs
    its workers until it has saved. They end with it.

    Args:
        start: what else a worker begins with.
        worker: its number.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if start is not None:
        start(worker)


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """On SIGTERM, as clusters send it before they take a machine away: finish the update, save, stop.

    Processes hear of it at different moments, so after every update they agree whether one has.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._heard = False
        self._before: Any = None
        self._group: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._hear)
        if args.world_size > 1:
            self._group = distributed.new_group(backend="gloo")  # a GPU would have to be waited for

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._anybody_heard() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard = True

    def _anybody_heard(self) -> bool:
        if self._group is None:
            return self._heard
        heard = torch.tensor(int(self._heard))
        distributed.all_reduce(heard, distributed.ReduceOp.MAX, group=self._group)
        return bool(heard)
