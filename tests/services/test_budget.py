"""A budget makes money dearer in the service's own decisions, and the log says by how much, so that each can be taken again."""

import itertools
import math

import pytest
from pydantic import SecretStr

from learning.arrays import FloatArray
from learning.learner import Learner
from learning.pacing import Pacer
from router.config import Settings
from router.domain.catalog import load_shipped
from router.domain.events import Committed, Regime, Write
from router.domain.ids import new_id
from router.domain.offers import facts_of
from router.domain.tasks import Constraints, Task
from router.parts import routing_rules
from router.recomputing import decide_again
from router.services.routing import RoutingService

BUDGET = 3e-4


class Nowhere:
    async def write(self, record: Write) -> Committed:
        raise AssertionError("these decisions are not logged")


@pytest.fixture
def parts():
    catalog, learner = load_shipped(), Learner()
    learner.register(facts_of(catalog.active))
    # the same draws every time: one of a model that costs 150 budgets, late in the pass, would spoil the mean
    rules = routing_rules(Settings(weight_cost=0.0, weight_latency=0.0, salt=SecretStr("what the draws of a test begin with")))
    pacer, numbers = Pacer(BUDGET), itertools.count()
    made = RoutingService(
        Nowhere(), rules, posterior=learner.posterior, clock=lambda: 1.0, new_id=lambda prefix: f"{prefix}_{next(numbers)}", money=pacer
    )
    made.use_catalog(catalog)
    return made, pacer, rules, catalog, learner


def test_the_mean_cost_of_decisions_holds_to_the_budget(parts) -> None:
    routing, pacer, *_ = parts
    spent = []
    for _ in range(600):
        expected = routing.decide(Task("classification", 1_000)).expected
        if expected is not None and expected.cost_usd is not None:  # a bill tells nothing where the price is unknown
            pacer.settle(expected.cost_usd.mean)
            spent.append(expected.cost_usd.mean)
    assert math.fsum(spent) / len(spent) == pytest.approx(BUDGET, rel=0.05)
    assert pacer.utility_per_usd > 0


def test_the_log_says_what_money_cost_and_the_decision_is_taken_again_from_it(parts) -> None:
    routing, pacer, rules, catalog, learner = parts
    for _ in range(50):
        decision = routing.decide(Task("classification", 1_000))
        pacer.settle(2 * BUDGET)
    assert decision.request["money"] > 0
    regime = Regime(catalog.version, routing.policy_version, rules.told(), catalog.models, 1.0)
    again = decide_again(
        regime,
        {},
        learner.posterior,
        name=lambda _: decision.id,
        draw=lambda _: int(decision.request["draw"]),
        money=lambda: decision.request["money"],
    )
    assert again is not None
    made = again.decide(Task("classification", 1_000))
    assert (made.model, made.propensities) == (decision.model, decision.propensities)


def test_without_a_budget_nothing_is_said(parts) -> None:
    _, _, rules, catalog, learner = parts
    free = RoutingService(Nowhere(), rules, posterior=learner.posterior, clock=lambda: 1.0, new_id=new_id)
    free.use_catalog(catalog)
    assert "money" not in free.decide(Task("classification", 1_000)).request


class Priced:
    """Money at a price of its own, which counts how often a decision asks for it."""

    utility_per_usd = 0.0
    asked = 0

    def price(self, utility: FloatArray, sd: FloatArray, cost: FloatArray) -> float:
        self.asked += 1
        return 7.0


@pytest.mark.parametrize(("models", "at_once"), [(1, 0), (2, 1)])
def test_expectations_wait_for_the_description_where_there_is_no_choice(parts, models: int, at_once: int) -> None:
    _, _, rules, catalog, learner = parts
    money = Priced()
    routing = RoutingService(Nowhere(), rules, posterior=learner.posterior, clock=lambda: 1.0, new_id=new_id, money=money)
    routing.use_catalog(catalog)
    allowed = frozenset(model.id for model in catalog.active[:models])
    drawn = routing.draw(Task("classification", 1_000, constraints=Constraints(models=allowed)))
    assert money.asked == at_once
    decision = drawn.described()
    assert money.asked == 1
    assert (decision.model, set(decision.eligible)) == (drawn.model, allowed)
    assert decision.propensity == decision.propensities[decision.eligible.index(decision.model)]
    assert (decision.propensities == (1.0,)) is (models == 1)
    assert decision.request["money"] == 7.0
    assert decision.expected is not None
    assert (decision.policy, decision.forced) == ("thompson", False)
