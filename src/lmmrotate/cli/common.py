"""What every verb shares: log set-up, quiet libraries, progress on stderr, results on stdout."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is being done, on stderr")


def add_running(parser: argparse.ArgumentParser) -> None:
    """How a model is run."""
    parser.add_argument(
        "--batch_size", type=positive_int, default=8, help="images a step (default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU where there is one)")


def set_up_logging(verbose: bool) -> None:
    """Our log lines on stderr, of the first process for all; other libraries only when something is wrong."""
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    quiet = logging.WARNING if first else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=quiet, format="%(message)s", force=True)
    logging.getLogger("lmmrotate").setLevel(logging.INFO if verbose and first else quiet)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on CPUs it misses what it can do without


def quiet_transformers() -> None:
    """Switch off Transformers' own bars and notes; ours tell the user what matters."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's collector at rest, for imports: Torch and Transformers make half a million objects that
    stay, among which it looks for rubbish again and again (0.7 of 4.6 s of ``predict`` for one image)."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def show(text: str) -> None:
    """A result, on stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def show_json(value: Mapping[str, Any]) -> None:
    """A result for a script, on stdout."""
    show(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def positive_int(text: str) -> int:
    """argparse type: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def fraction(text: str) -> float:
    """argparse type: a number in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1], got {value}")
    return value
