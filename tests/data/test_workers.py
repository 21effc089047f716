import threading
from collections.abc import Generator

import pytest

from lmmrotate.data.workers import follow_all


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_job_runs_to_its_end(workers: int) -> None:
    done: list[tuple[int, int]] = []
    steps: list[None] = []

    def job(number: int) -> Generator[None]:
        for step in range(number):
            done.append((number, step))
            yield

    follow_all((job(n) for n in range(4)), workers, lambda: steps.append(None))
    assert sorted(done) == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert len(steps) == 6
    follow_all((), workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_stops_the_rest(workers: int) -> None:
    begun, closed = [], []

    def endless(failed: threading.Event) -> Generator[None]:
        me = threading.current_thread()
        try:
            while True:
                failed.wait(10)
                yield
        finally:
            closed.append(me is threading.current_thread())

    def bad(failed: threading.Event) -> Generator[None]:
        yield
        failed.set()
        raise ValueError("bad")

    def later() -> Generator[None]:
        begun.append(1)
        while True:
            yield

    event = threading.Event()
    others = threading.active_count()
    jobs = [endless(event)] * (workers - 1) + [bad(event), later()]
    with pytest.raises(ValueError, match="bad"):
        follow_all(jobs, workers)
    assert closed == [True] * (workers - 1)
    assert len(begun) <= workers - 1  # it may have begun before the error was seen, but it has ended
    assert threading.active_count() == others
