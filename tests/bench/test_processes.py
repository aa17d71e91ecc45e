"""Jobs in processes: all are done, each once, and a process that dies is told and not waited for."""

import os
from collections.abc import Callable

import pytest

from router.bench.processes import each
from router.errors import TaskInvalid


def squares() -> Callable[[int], tuple[int, int]]:
    return lambda n: (n * n, os.getpid())


def dies() -> Callable[[int], int]:
    return lambda n: os._exit(3) if n == 1 else n


@pytest.mark.parametrize(("jobs", "workers"), [(7, 2), (2, 5)])
def test_every_job_is_done_once_by_as_many_processes_as_it_takes(jobs: int, workers: int) -> None:
    made = list(each(squares, range(jobs), workers))
    assert sorted((job, result[0]) for job, result in made) == [(n, n * n) for n in range(jobs)]
    assert os.getpid() not in {result[1] for _, result in made}
    assert len({result[1] for _, result in made}) <= min(jobs, workers)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(TaskInvalid, match="ended before") as told:
        list(each(dies, range(3), 1))
    assert (told.value.field, told.value.remedy is not None) == ("workers", True)
