"""A day's money is shared out over the requests that are still to come."""

import math

import numpy as np
import pytest

from learning.pacing import Pacer
from router.domain.spending import DayStanding, Exhausted, day_of, remaining_requests
from router.domain.tallies import DAY_S, HOUR_S

DAY = 20_000 * DAY_S


def hours(start: int, counts: list[int]) -> dict[int, int]:
    return {start + i * HOUR_S: n for i, n in enumerate(counts)}


def test_before_anything_was_asked_few_requests_are_expected() -> None:
    assert remaining_requests({}, DAY + 3.0) == 10.0


def test_the_first_day_goes_on_at_its_rate_so_far() -> None:
    known = hours(DAY + 6 * HOUR_S, [60, 60, 30])  # from 6 o'clock, half past 8 now
    assert remaining_requests(known, DAY + 8.5 * HOUR_S) == pytest.approx(60 * 15.5)
    one = remaining_requests(hours(DAY + 6 * HOUR_S, [1]), DAY + 6 * HOUR_S + 1)
    assert one == pytest.approx(18 * 4, rel=0.01)  # a rate over a quarter of an hour


def test_later_days_go_by_the_same_hours_of_yesterday() -> None:
    quiet_then_busy = [10] * 12 + [100] * 12
    known = hours(DAY - DAY_S, quiet_then_busy) | hours(DAY, [10] * 12)
    assert remaining_requests(known, DAY + 12 * HOUR_S) == pytest.approx(1_200)
    assert remaining_requests(known | hours(DAY + 12 * HOUR_S, [50]), DAY + 12.5 * HOUR_S) == pytest.approx(1_150)


def test_a_day_that_starts_busier_is_expected_to_go_on_so() -> None:
    known = hours(DAY - DAY_S, [100] * 24) | hours(DAY, [200] * 12)
    assert remaining_requests(known, DAY + 12 * HOUR_S) == pytest.approx(1_200 * 2_450 / 1_250)


def test_at_the_end_of_a_day_some_are_always_expected() -> None:
    known = hours(DAY - DAY_S, [100] * 24) | hours(DAY, [100] * 24)
    assert remaining_requests(known, DAY + DAY_S - 1) == 10.0


def test_days_are_of_utc() -> None:
    assert day_of(DAY + 0.5) == DAY == day_of(DAY + DAY_S - 1)


def test_a_standing_says_whether_anything_is_left() -> None:
    assert DayStanding(1.0, 1.0, 10.0, 0.0, 0.0, Exhausted.CHEAPEST).spent
    assert not DayStanding(1.0, 0.99, 10.0, 0.001, 0.0, Exhausted.CHEAPEST).spent


def lived(budget: float, days: int = 4) -> tuple[list[float], list[float], list[float]]:
    """Spend, quality and spend after noon by day: traffic that triples at noon, three models whose quality rises with their price."""
    rng = np.random.default_rng(17)
    quality, cost = np.array([0.55, 0.7, 0.9]), np.array([0.0005, 0.004, 0.03])
    pacer, counted = Pacer(budget), dict[int, int]()
    spent, earned, late = [], [], []
    for day in range(days):
        start, today, won, afternoon = DAY + day * DAY_S, 0.0, 0.0, 0.0
        pattern = [20] * 12 + [60] * 12
        for hour, n in enumerate(pattern):
            for i in range(n):
                at = start + hour * HOUR_S + i * HOUR_S / n
                if i % 10 == 0:
                    recent = {h: c for h, c in counted.items() if h >= day_of(at) - DAY_S}
                    if (left := budget - today) > 0:
                        pacer.aim(left / remaining_requests(recent, at))
                expected = cost * rng.lognormal(-0.02, 0.2, 3)
                utility = quality + 0.02 * rng.standard_normal(3)
                if today >= budget:
                    m = int(np.argmin(expected))
                else:
                    m = int(np.argmax(utility - pacer.price(utility, np.full(3, 1e-3), expected) * expected))
                paid = float(expected[m] * rng.lognormal(-0.02, 0.2))
                pacer.settle(paid)
                counted[start + hour * HOUR_S] = counted.get(start + hour * HOUR_S, 0) + 1
                today, won, afternoon = today + paid, won + quality[m], afternoon + paid * (hour >= 12)
        spent.append(today / budget)
        earned.append(won / sum(pattern))
        late.append(afternoon / today)
    return spent, earned, late


@pytest.mark.parametrize("per_request", [0.004, 0.012])
def test_a_day_spends_its_budget_and_keeps_money_for_the_afternoon(per_request: float) -> None:
    spent, earned, late = lived(960 * per_request)
    assert all(0.9 < part < 1.03 for part in spent[1:])
    assert spent[0] < 1.1  # nothing was known of the afternoon: it is answered by the cheapest at the end
    assert all(0.65 < part < 0.85 for part in late[1:])  # three of four requests come then
    dear = per_request / 0.03  # of the requests could have the best model until nothing is left
    assert math.fsum(earned[1:]) / 3 > dear * 0.9 + (1 - dear) * 0.55 + 0.02
