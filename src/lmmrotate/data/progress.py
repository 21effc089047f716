"""The progress bar of long work: what, a bar, counts with their unit, time gone and time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bar(unit: str, shown: bool = True) -> Progress:
    """A bar on stderr, which a terminal shows while it is used as a context manager.

    Args:
        unit: of the counts, "images"; fields of the task may stand in it, "loss {task.fields[loss]}".
        shown: False for a bar that draws nothing.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
