"""Exploring gives up no more, in expectation, than it is allowed to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.choice import Estimates, Restraint, given_up, restrained, tighter
from learning.policies import Beliefs

N = 5
numbers = st.lists(st.floats(0, 1), min_size=N, max_size=N)
limits = st.one_of(st.none(), st.floats(0, 0.5))


def about(quality: list[float], cost: list[float]) -> tuple[Beliefs, Estimates]:
    columns = {name: np.zeros(N) for name in Estimates.__slots__} | {"quality": np.array(quality), "cost": np.array(cost)}
    utility = np.array(quality) - 0.3 * np.array(cost)
    return Beliefs([f"m{i}" for i in range(N)], utility, np.full(N, 0.1), np.zeros(N)), Estimates(**columns)


@given(numbers, numbers, numbers, limits, limits)
def test_what_is_given_up_stays_within_both_limits(quality, cost, weights, points, usd) -> None:
    beliefs, estimates = about(quality, cost)
    p = (np.array(weights) + 1e-3) / (sum(weights) + N * 1e-3)
    mixed = restrained(p, beliefs, estimates, Restraint(points, usd))
    assert mixed.sum() == pytest.approx(1.0)
    for spent, limit in zip(given_up(mixed, beliefs, estimates), (points, usd), strict=True):
        assert limit is None or spent <= limit + 1e-12
    if points is usd is None:
        assert mixed is p


@given(limits, limits, limits, limits)
def test_both_limits_at_once_are_the_tighter_of_each(a, b, c, d) -> None:
    both = tighter(Restraint(a, b), Restraint(c, d))
    assert both is not None
    for found, pair in ((both.quality, (a, c)), (both.usd, (b, d))):
        assert found == min((limit for limit in pair if limit is not None), default=None)


def test_where_only_one_is_limited_that_counts() -> None:
    assert tighter(None, None) is None
    assert tighter(Restraint(0.1), None) == tighter(None, Restraint(0.1)) == Restraint(0.1)


def test_an_unknown_cost_is_nothing_given_up() -> None:
    beliefs, estimates = about([0.9, 0.5, 0.5, 0.5, 0.5], [float("nan")] * N)
    beliefs = Beliefs(beliefs.models, np.array([0.9, 0.5, 0.5, 0.5, 0.5]), beliefs.sd, beliefs.eager)
    assert given_up(np.full(N, 0.2), beliefs, estimates) == (pytest.approx(0.32), 0.0)
