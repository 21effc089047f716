"""Worker processes that end when they should."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2

from lmmrotate.errors import DataError


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end with Ctrl-C, with an error in the block, and with this process.

    Workers start by "spawn": a script that leads here needs the usual ``if __name__ == "__main__":``.

    Raises:
        DataError: if a worker dies.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died; if it was for lack of memory, run again with fewer workers "
            "(what is finished is kept)"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # after an error too: jobs begun are finished


def _start_worker() -> None:
    cv2.setNumThreads(1)  # one process a core is enough
    # Ctrl-C reaches every process: end at once and without a traceback. Writing is atomic.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main process was killed: nobody else would end its workers
