"""Does jobs in processes of its own, which end with it however it ends.

Not an executor: one that is interrupted while it starts a process or waits for one may wait for ever (Python 3.11).
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from router.errors import TaskInvalid

Job = TypeVar("Job")
Result = TypeVar("Result")

_context = multiprocessing.get_context("spawn")  # a copy of this process would inherit its threads half-way


def each(prepare: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, as they come. ``prepare`` makes what does a job, once in every process; it travels there by pickle.

    Raises ``TaskInvalid`` where a process ended before its job was done.
    """
    left = iter(jobs)
    at: dict[Connection, Job] = {}
    started: list[BaseProcess] = []
    try:
        for job in islice(left, workers):
            with _undisturbed():
                ours, theirs = _context.Pipe()
                process = _context.Process(target=_serve, args=(theirs, prepare), daemon=True)
                process.start()
                started.append(process)
                theirs.close()
            ours.send(job)
            at[ours] = job
        while at:
            for ready in wait(list(at)):
                ours = next(one for one in at if one is ready)
                done = at.pop(ours)
                try:
                    result = ours.recv()
                except EOFError as exc:
                    remedy = "use fewer, which need less memory together; what it says above may tell more"
                    raise TaskInvalid("a process ended before its job was done", field="workers", remedy=remedy) from exc
                for following in islice(left, 1):
                    ours.send(following)
                    at[ours] = following
                yield done, result
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.join()


def _serve(work: Connection, prepare: Callable[[], Callable[[Job], Result]]) -> None:
    do = prepare()
    while True:
        work.send(do(work.recv()))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """An interrupt waits until the block is left; processes started in it never see one: whoever started them ends them."""
    noted: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if noted:
            signal.raise_signal(signal.SIGINT)
