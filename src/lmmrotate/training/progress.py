"""The training progress bar: updates done, loss, time left."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import Progress
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmmrotate.data.progress import progress_bar


class ProgressBar(TrainerCallback):  # type: ignore[misc]
    """Shows one bar on stderr; where stderr is not a terminal, one line a logging step instead."""

    def __init__(self, title: str = "training") -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        self._bar = progress_bar("loss {task.fields[loss]}")
        self._task = self._bar.add_task(
            self._title, total=state.max_steps, completed=state.global_step, loss="…"
        )
        self._bar.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        if self._bar:
            self._bar.update(self._task, loss=f"{float(logs['loss']):.4f}")
        else:
            self._console.print(
                f"{self._title}: step {state.global_step}/{state.max_steps} loss {float(logs['loss']):.4f} "
                f"lr {float(logs.get('learning_rate', 0)):.2e}",
                highlight=False,
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
