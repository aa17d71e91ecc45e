"""When a circuit opens, who may probe, and how soon a recovery is noticed."""

import random

from router.domain.breaker import LONGEST_REST_S, Breakers, RetryBudget


def opened(breakers: Breakers, now: float = 0.0) -> Breakers:
    assert [breakers.failed("m", now) for _ in range(5)] == [False, False, False, False, True]
    return breakers


def test_five_failures_open_and_one_probe_closes() -> None:
    breakers = opened(Breakers(random.Random(0)))
    assert "m" in breakers.resting(0.5)
    assert not breakers.admit("m", 0.5)
    assert breakers.resting(1.0) == {}
    assert breakers.admit("m", 1.0)
    assert breakers.resting(1.0) == {"m": 0.0}, "one probe at a time"
    assert not breakers.admit("m", 1.0)
    breakers.succeeded("m")
    assert breakers.admit("m", 1.0)
    assert breakers.admit("m", 1.0)


def test_failures_among_successes_open_where_they_are_half() -> None:
    breakers = Breakers(random.Random(0))
    opens = []
    for _ in range(5):
        opens.append(breakers.failed("m", 0.0))
        breakers.succeeded("m")
    assert opens == [False, False, False, False, True]
    rare = Breakers(random.Random(0))
    for _ in range(100):
        for _ in range(3):
            rare.succeeded("m")
        assert not rare.failed("m", 0.0)


def test_a_lasting_failure_opens_at_once_and_stragglers_change_nothing() -> None:
    breakers = Breakers(random.Random(0))
    assert breakers.failed("m", 0.0, lasting=True)
    breakers.succeeded("m")
    assert not breakers.failed("m", 0.1)
    assert not breakers.admit("m", 0.5)


def test_a_recovery_is_noticed_within_ten_seconds_however_long_the_outage() -> None:
    breakers, now, waits = opened(Breakers(random.Random(1))), 0.0, []
    for _ in range(12):
        wait = breakers.resting(now)["m"]
        waits.append(wait)
        now += wait
        assert breakers.admit("m", now)
        assert not breakers.failed("m", now)
    assert max(waits) <= LONGEST_REST_S < 10
    assert waits[-1] > 7


def test_a_probe_that_is_left_frees_the_place() -> None:
    breakers = opened(Breakers(random.Random(0)))
    assert breakers.admit("m", 2.0)
    breakers.left("m")
    assert breakers.admit("m", 2.0)


def test_retries_are_a_share_of_the_requests() -> None:
    budget, spent = RetryBudget(0.1), 0
    for _ in range(1000):
        budget.request()
        spent += budget.spend()
    assert 100 <= spent <= 110
