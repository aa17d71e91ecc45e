"""What whole answers and streams of one model say of each other."""

import random

from adapters.errors import ProviderDown
from router.domain.calling import Calling
from router.domain.tasks import Task
from router.services.calls import ExecutionRules
from router.services.switching import Switching


class Nobody:
    """No other model."""

    def next_best(self, task: Task, calling: Calling, tried: set[str]) -> str | None:
        return None


def switching() -> Switching:
    return Switching(Nobody(), ExecutionRules(), random.Random(1))


def broken(model: str = "m") -> ProviderDown:
    return ProviderDown("the stream ended early", model=model)


def test_whole_answers_do_not_hide_streams_that_break() -> None:
    circuits = switching()
    for i in range(5):
        assert not circuits.resting(), i
        assert circuits.admit("m")
        circuits.failed("m", broken())
        circuits.broke("m")
        for _ in range(3):
            circuits.succeeded("m")
    assert set(circuits.resting()) == {"m"}


def test_a_stream_that_ends_well_lets_whole_answers_speak_again() -> None:
    circuits = switching()
    for _ in range(20):
        for _ in range(4):
            circuits.failed("m", broken())
            circuits.broke("m")
        assert circuits.doubtful("m")
        circuits.streamed("m")
        assert not circuits.doubtful("m")
        for _ in range(20):
            circuits.succeeded("m")
    assert not circuits.resting()


def test_a_whole_answer_to_a_probe_closes_the_circuit_and_the_streams_stay_doubtful() -> None:
    circuits = switching()
    for _ in range(5):
        circuits.failed("m", broken())
    circuits.broke("m")
    assert circuits.resting()
    circuits._breakers._circuits["m"].open_until = 0.0  # its rest is over
    assert circuits.admit("m")
    circuits.succeeded("m")
    assert not circuits.resting()
    assert circuits.doubtful("m")
