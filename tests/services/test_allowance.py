"""Exploring has a day's allowance that all services on a log share, restarts included; decisions under it are recomputed from the log."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from learning.choice import Restraint
from learning.learner import Learner
from router import config, parts
from router.domain.calling import Calling
from router.domain.catalog import load_shipped
from router.domain.decisions import Decision
from router.domain.events import Committed, Regime, Write
from router.domain.ids import new_id
from router.domain.offers import facts_of
from router.domain.tallies import DAY_S
from router.domain.tasks import Task, Weights
from router.recomputing import decide_again
from router.services.allowance import AllowanceService
from router.services.routing import RoutingService
from router.storage.memory import MemoryStore

DAY = 20_000.0 * DAY_S
TASK = Task("quick_qa", 500, weights=Weights(1.0, 0.0, 0.0))


class Nowhere:
    async def write(self, record: Write) -> Committed:
        raise AssertionError("these decisions are not logged")


@dataclass
class Town:
    """Services on one log at a time of day, with the models that ship and nothing learned, so that every draw explores."""

    quality: float | None = None
    usd: float | None = None
    now: float = DAY
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.catalog, self.learner = load_shipped(), Learner()
        self.learner.register(facts_of(self.catalog.active))
        self.rules = parts.routing_rules(config.load(database_url="memory://"))

    def service(self) -> tuple[RoutingService, AllowanceService]:
        allowance = AllowanceService(self.store, quality=self.quality, usd=self.usd, clock=lambda: self.now)
        made = RoutingService(
            Nowhere(), self.rules, posterior=self.learner.posterior, clock=lambda: self.now, new_id=new_id, allowance=allowance
        )
        made.use_catalog(self.catalog)
        return made, allowance

    def gives_up(self, routing: RoutingService, decision: Decision) -> tuple[float, float]:
        """Expected points and dollars that a decision's law costs."""
        considered = routing.consider(TASK, Calling({}))
        assert considered is not None
        assert considered.models == decision.eligible
        best, p = considered.about.best(), np.array(decision.propensities)
        quality, cost = considered.estimates.quality, np.nan_to_num(considered.estimates.cost - considered.estimates.cost[best])
        return float(p @ np.maximum(quality[best] - quality, 0)), float(p @ np.maximum(cost, 0))


@pytest.mark.parametrize(("quality", "usd"), [(1.0, None), (None, 0.02), (0.5, 0.5)])
def test_a_day_of_two_services_that_restart_stays_within_the_allowance(quality: float | None, usd: float | None) -> None:
    town = Town(quality, usd)
    given = np.zeros(2)
    greedy = drawn = 0
    for hour in range(24):
        town.now = DAY + hour * 3_600
        pair = [town.service() for _ in range(2)]  # new ones every hour, as after a crash: what they held is lost
        for _ in range(8):
            for routing, allowance in pair:
                asyncio.run(allowance.draw())
                for _ in range(2):
                    decision = routing.decide(TASK)
                    given += town.gives_up(routing, decision)
                    greedy, drawn = greedy + (decision.propensity == 1.0), drawn + 1
    for spent, most in zip(given, (quality, usd), strict=True):
        assert most is None or spent <= most + 1e-6 * drawn
    assert max(spent / most for spent, most in zip(given, (quality, usd), strict=True) if most) > 0.5
    assert greedy > drawn / 10  # there is not enough for all of them


def test_what_is_not_used_is_put_back_and_the_next_day_begins_anew() -> None:
    town = Town(quality=10.0)
    _, allowance = town.service()

    async def open_and_close() -> None:
        await allowance.start()
        assert allowance.limits().quality == pytest.approx(0.1)
        allowance.used(0.04, 0.0)
        await allowance.close()

    asyncio.run(open_and_close())
    assert town.store.allowances(int(DAY)) == {"exploration_quality": pytest.approx(40_000_000, abs=2)}
    routing, allowance = town.service()
    asyncio.run(allowance.draw())
    town.now = DAY + DAY_S
    assert allowance.limits().quality == 0.0  # yesterday's is gone, and today's not drawn yet
    assert routing.decide(TASK).propensity == 1.0
    asyncio.run(allowance.draw())
    assert allowance.limits().quality == pytest.approx(0.1)
    assert routing.decide(TASK).propensity < 1.0


def test_the_day_opens_its_allowance_with_its_hours() -> None:
    town = Town(usd=2.4)
    _, allowance = town.service()
    got = 0.0
    for _ in range(50):
        asyncio.run(allowance.draw())
        got += allowance.limits().usd or 0.0
        allowance.used(0.0, 1.0)
    assert got == pytest.approx(0.1, abs=1e-6)  # an hour's
    town.now = DAY + 11 * 3_600
    for _ in range(80):
        asyncio.run(allowance.draw())
        got += allowance.limits().usd or 0.0
        allowance.used(0.0, 1.0)
    assert got == pytest.approx(1.2, abs=1e-6)


def test_a_decision_under_an_allowance_is_taken_again_from_what_the_log_says() -> None:
    town = Town(quality=1.0, usd=0.02)
    routing, allowance = town.service()
    asyncio.run(allowance.draw())
    regime = Regime(town.catalog.version, routing.policy_version, town.rules.told(), town.catalog.models, 1.0)
    seen = set()
    for _ in range(12):
        decision = routing.decide(TASK)
        limits = decision.request["allowed"]
        seen.add(tuple(limits))
        again = decide_again(
            regime,
            {},
            town.learner.posterior,
            name=lambda _, id_=decision.id: id_,
            draw=lambda _, u=decision.request["draw"]: u,
            allowed=Restraint(*limits),
        )
        assert again is not None
        made = again.decide(TASK)
        assert (made.model, made.propensities, made.request) == (decision.model, decision.propensities, decision.request)
    assert len(seen) > 1


def test_without_an_allowance_nothing_is_said_and_nobody_draws() -> None:
    town = Town()
    free = RoutingService(Nowhere(), town.rules, posterior=town.learner.posterior, clock=lambda: 1.0, new_id=new_id)
    free.use_catalog(town.catalog)
    assert "allowed" not in free.decide(TASK).request


def test_an_allowance_too_small_to_be_drawn_is_closed_like_any_other() -> None:
    allowance = AllowanceService(MemoryStore(), quality=1e-8, usd=None, clock=lambda: DAY)

    async def open_and_close() -> None:
        await allowance.start()
        assert allowance.limits().quality == 0.0
        await allowance.close()

    asyncio.run(open_and_close())
