"""Predicting chunks on a Ray cluster, or on this machine where there is none.

The extra ``ray``. Actors load the model once and take chunks as they get free; the process that called writes
down what comes back, so that a call which is interrupted goes on like any other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lmmrotate.errors import ConfigError, LmmRotateError
from lmmrotate.inference.batch import Engine, Work, predict_chunk
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.parts import Chunk, dump_chunk, parse_chunk
from lmmrotate.inference.predictor import Predictor

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new behaviour, without the note
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Ray's own words, which say nothing about the images."""


class _Actor:
    """A process with a model of its own, and the list of all chunks."""

    def __init__(
        self,
        model: str,
        device: str | None,
        options: DecodingOptions,
        threads: int,
        chunks: Mapping[int, Work],
    ) -> None:
        torch.set_num_threads(threads)  # results may depend on it in the last digit
        self._predictor = Predictor.from_run(model, device=device)
        self._options = options
        self._chunks = chunks

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["number"])
        chunk = predict_chunk(self._predictor, self._chunks[number], self._options)
        return {"line": dump_chunk(number, chunk)}


def on_ray(model: str | Path, device: str | None, options: DecodingOptions) -> Engine:
    """The engine that hands chunks to Ray Data: an actor a GPU, or for as many cores as torch uses here.

    Args:
        model: as for ``Predictor.from_run``; every machine of the cluster must find it, and the images.
        device: as there.

    Raises:
        ConfigError: if Ray is not installed.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise ConfigError("--engine ray needs Ray Data: pip install 'lmmrotate[ray]'")

    def run(chunks: Iterable[tuple[int, Work]]) -> Iterator[tuple[int, Chunk]]:
        numbered = dict(chunks)
        if numbered:
            yield from _stream(numbered, str(model), device, options)

    return run


def _stream(
    chunks: Mapping[int, Work], model: str, device: str | None, options: DecodingOptions
) -> Iterator[tuple[int, Chunk]]:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)

    ours = not ray.is_initialized()
    if ours:
        ray.init(
            logging_level=logging.ERROR,
            log_to_driver=logging.getLogger("lmmrotate").isEnabledFor(logging.INFO),
            include_dashboard=False,
        )
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        threads = torch.get_num_threads()
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0)) if device is None or device.startswith("cuda") else 0
        actors = gpus or max(1, int(have.get("CPU", 1)) // threads)
        needs: dict[str, float] = {"num_gpus": 1} if gpus else {"num_cpus": threads}
        rows = [{"number": number} for number in chunks]
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(model, device, options, threads, chunks),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
            **needs,
        )
        for row in found.iter_rows():
            yield parse_chunk(row["line"], "Ray")
    except ray.exceptions.RayError as error:
        raise LmmRotateError(f"Ray: {str(error).strip().splitlines()[-1]}") from error
    finally:
        if ours:
            ray.shutdown()
