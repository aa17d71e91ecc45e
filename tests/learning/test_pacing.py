"""A budget holds whatever the models cost, and binds no more than it must."""

import numpy as np
import pytest

from learning.choice import Estimates, Restraint, restrained
from learning.errors import InvalidContext
from learning.pacing import Pacer
from learning.policies.protocol import Beliefs

QUALITY = np.array([0.45, 0.62, 0.70, 0.78])
COST = np.array([1e-4, 4e-4, 1.2e-3, 6e-3])


def play(pacer: Pacer, requests: int, *, billed: float = 1.0, seed: int = 0) -> tuple[float, float]:
    """Mean quality and mean cost over the requests; each is up to four times longer than another, and ``billed`` times what is foretold."""
    rng, spent, got = np.random.default_rng(seed), 0.0, 0.0
    for _ in range(requests):
        cost = COST * rng.uniform(0.5, 2.0)
        price = pacer.price(QUALITY, np.full(4, 0.02), cost)
        m = int(np.argmax(QUALITY + rng.normal(0, 0.01, 4) - price * cost))
        paid = float(cost[m]) * billed * rng.lognormal(-0.08, 0.4)
        pacer.settle(paid)
        spent, got = spent + paid, got + QUALITY[m]
    return got / requests, spent / requests


@pytest.mark.parametrize("budget", [2e-4, 6e-4, 2e-3, 5e-3])
@pytest.mark.parametrize("billed", [0.4, 1.0, 2.5])
def test_the_mean_cost_holds_to_the_budget(budget: float, billed: float) -> None:
    budget *= billed  # so that it binds
    _, cost = play(Pacer(budget), 4_000, billed=billed)
    assert cost == pytest.approx(budget, rel=0.01)


def test_another_budget_is_kept_from_then_on() -> None:
    """As where a day's money is shared out: the first aim follows the making."""
    pacer = Pacer(50.0)
    for budget in (2e-3, 6e-4):
        pacer.aim(budget)
        _, cost = play(pacer, 4_000, billed=1.6)
        assert cost == pytest.approx(budget, rel=0.015)


@pytest.mark.parametrize("budget", [2e-4, 6e-4, 2e-3])
def test_the_money_buys_more_than_any_mix_of_two_models(budget: float) -> None:
    """Short requests go to the dear models, long ones to the cheap: above the hull of the models alone."""
    quality, _ = play(Pacer(budget), 4_000)
    mean = COST * 1.25
    hull = np.interp(budget, mean, QUALITY)
    assert quality > hull


def test_a_budget_that_does_not_bind_costs_nothing() -> None:
    pacer = Pacer(0.1)
    quality, _ = play(pacer, 500)
    assert pacer.utility_per_usd == 0.0
    assert quality == pytest.approx(QUALITY.max(), abs=1e-9)


def test_a_budget_below_the_cheapest_model_takes_the_cheapest() -> None:
    quality, _ = play(Pacer(2e-5), 500)
    assert quality == pytest.approx(QUALITY[0], abs=0.02)


def test_models_of_unknown_cost_do_not_disturb() -> None:
    pacer = Pacer(1e-3)
    assert pacer.price(QUALITY, np.full(4, 0.02), np.full(4, np.nan)) == 0.0
    for _ in range(300):
        cost = np.array([np.nan, *COST[1:]])
        price = pacer.price(QUALITY, np.full(4, 0.02), cost)
        pacer.settle(float(cost[1 + int(np.argmax(QUALITY[1:] - price * cost[1:]))]))
    assert pacer.utility_per_usd > 0


def test_the_same_requests_give_the_same_price() -> None:
    one, other = Pacer(1e-3), Pacer(1e-3)
    assert play(one, 200) == play(other, 200)
    assert one.utility_per_usd == other.utility_per_usd


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_positive_number(budget: float) -> None:
    with pytest.raises(InvalidContext, match="budget"):
        Pacer(budget)


def estimates(quality: np.ndarray, cost: np.ndarray) -> Estimates:
    n = np.zeros(len(quality))
    return Estimates(quality, n, n, n, cost, n, cost, n, n, n, n)


def test_exploration_gives_up_no_more_than_it_may() -> None:
    about = Beliefs(("a", "b", "c"), np.array([0.8, 0.7, 0.5]), np.full(3, 0.1))
    known = estimates(np.array([0.8, 0.7, 0.5]), np.array([1e-3, 1e-3, 5e-3]))
    p = np.array([0.5, 0.3, 0.2])  # loses .3 * .1 + .2 * .3 = .09 points and .2 * .004 = .0008 dollars
    assert restrained(p, about, known, Restraint(0.1, 0.001)) is p
    held = restrained(p, about, known, Restraint(quality=0.03))
    assert held.tolist() == pytest.approx([0.5 + 0.5 * (1 - 1 / 3), 0.1, 0.2 / 3])
    assert float(held @ (0.8 - known.quality)) == pytest.approx(0.03)
    frugal = restrained(p, about, known, Restraint(usd=0.0002))
    assert float(frugal @ (known.cost - 1e-3)) == pytest.approx(0.0002)
    assert restrained(p, about, known, Restraint(0.0)).tolist() == [1.0, 0.0, 0.0]


def test_a_model_of_unknown_cost_is_no_extra_expense() -> None:
    about = Beliefs(("a", "b"), np.array([0.8, 0.7]), np.full(2, 0.1))
    p = np.array([0.5, 0.5])
    assert restrained(p, about, estimates(np.array([0.8, 0.7]), np.array([1e-3, np.nan])), Restraint(usd=0.0)) is p


@pytest.mark.parametrize("limit", [-0.1, float("nan")])
def test_limits_of_exploration_are_not_negative(limit: float) -> None:
    with pytest.raises(InvalidContext, match="exploration"):
        Restraint(limit)
