"""Worker threads and processes that end when they should."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager

import cv2

from lmmrotate.errors import DataError


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def follow_all(
    jobs: Iterable[Generator[object]], workers: int, stepped: Callable[[], object] = lambda: None
) -> None:
    """Run every generator to its end, in ``workers`` threads (1: in this one).

    For work that holds Python's lock for a small part of its time only. The first error, or Ctrl-C, is
    raised as soon as each of the other threads has finished the step it is at; a generator is closed by
    the thread that ran it.

    Args:
        jobs: each is followed by one thread.
        workers: threads, at least 1.
        stepped: called after each step, by the thread that made it.
    """
    stop = threading.Event()

    def follow(job: Generator[object]) -> None:
        with closing(job):
            while not stop.is_set() and next(job, stop) is not stop:
                stepped()

    if workers == 1:
        for job in jobs:
            follow(job)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            pending = {pool.submit(follow, job) for job in jobs}
            while pending:
                # On Windows, Ctrl-C does not end a wait without a limit.
                done, pending = wait(pending, timeout=1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        finally:
            stop.set()


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
