"""The day's budget: shared out by the log, spent once for all services, and a stop that is the operator's choice."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from learning.learner import Learner
from router import config, parts
from router.api.services import Services
from router.domain.calling import Calling
from router.domain.catalog import load_shipped
from router.domain.events import Committed, OutcomeEvent, Write
from router.domain.ids import new_id
from router.domain.offers import facts_of
from router.domain.spending import DayStanding, Exhausted
from router.domain.tallies import DAY_S, Counted
from router.domain.tasks import Task, Weights
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.services.routing import RoutingService
from router.services.spending import SpendingService
from router.storage.memory import MemoryStore
from router.testing.rehearsal import Answer, Rehearsal
from tests.running import begin_at_noon, running

ASKED: dict[str, Any] = {"task_type": "quick_qa", "context_tokens": 500, "weights": {"quality": 1.0, "cost": 0.0, "latency": 0.0}}


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_at_noon(monkeypatch)


async def spend(client: httpx.AsyncClient, services: Services, usd: float) -> None:
    decided = (await client.post("/v1/route", json=ASKED)).json()
    told = await client.post("/v1/outcomes", json={"decision_id": decided["decision_id"], "latency_s": 1.0, "cost_usd": usd})
    assert told.status_code == 200
    await services.training.settle()  # type: ignore[attr-defined]


async def test_the_cheapest_answers_once_the_day_is_spent_over_a_restart_too_and_the_log_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url=f"sqlite:///{tmp_path}/p.db", durability="normal", budget_usd_per_day=0.01)
    async with running(settings) as (client, services):
        await spend(client, services, 0.004)
        assert (await client.post("/v1/route", json=ASKED)).json()["policy"]["name"] == "thompson"
        await spend(client, services, 0.006)
        for _ in range(2):
            decided = (await client.post("/v1/route", json=ASKED)).json()
            assert (decided["policy"]["name"], decided["propensity"]) == ("budget", 1.0)
            assert "budget is spent" in decided["reason"]
            costs = [other["expected"]["cost_usd"]["mean"] for other in decided["alternatives"]]
            assert min(costs) >= decided["expected"]["cost_usd"]["mean"]
        shown = (await client.get("/metrics")).text
        assert "pointsman_day_spent_usd 0.01\n" in shown
        assert "pointsman_day_budget_usd 0.01\n" in shown
        page = (await client.get("/budgets")).text
        assert "Today" in page
        assert "cheapest eligible model answers" in page
    async with running(settings) as (client, services):  # nothing but the log tells it
        decided = (await client.post("/v1/route", json=ASKED)).json()
        assert decided["policy"]["name"] == "budget"
        audit = AuditService(services.store, decide_again).audit(decided["decision_id"])
        assert audit.exact is True
    async with running(config.load(database_url=settings.database_url, durability="normal", budget_usd_per_day=5.0)) as (client, _):
        assert (await client.post("/v1/route", json=ASKED)).json()["policy"]["name"] == "thompson"


async def test_the_operator_may_have_requests_refused_instead(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url="memory://", budget_usd_per_day=0.01, budget_exhausted="refuse")
    async with running(settings) as (client, services):
        await spend(client, services, 0.02)
        refused = await client.post("/v1/route", json=ASKED)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= DAY_S
    told = refused.json()["error"]
    assert told["field"] == "budget_usd_per_day"
    assert "BUDGET_EXHAUSTED=cheapest" in told["remedy"]


class Day:
    """A clock that is set, a log of decisions that cost a cent each, and who follows it."""

    def __init__(self, usd: float) -> None:
        self.now = 1_760_000_000.0  # where a rehearsal starts
        self.store = MemoryStore()
        self.made = Rehearsal(load_shipped().active[:3], store=self.store)
        self.aims: list[float] = []
        self.usd = usd

    def service(self) -> SpendingService:
        return SpendingService(self.store, self.usd, exhausted=Exhausted.REFUSE, aim=self.aims.append, clock=lambda: self.now)

    def decide(self, count: int) -> None:
        for _ in range(count):
            self.made.step(Task("quick_qa", 500), lambda _: Answer(None, cost_usd=0.01))
        self.now = self.made._clock()
        while self.store.count_on(10_000) < self.store.last_seq():
            pass


def test_every_service_on_a_log_reads_the_same_spend_and_shares_out_what_is_left() -> None:
    day = Day(1.0)
    one, two = day.service(), day.service()
    day.decide(20)
    asyncio.run(one.read())
    day.decide(20)
    asyncio.run(two.read())
    assert one.standing.spent_usd == pytest.approx(0.2)
    assert two.standing.spent_usd == pytest.approx(0.4)
    asyncio.run(one.read())
    assert one.standing == two.standing
    standing = one.standing
    assert day.aims[-1] == pytest.approx(0.6 / standing.expected_requests)
    assert standing.expected_requests > 100  # 40 in twenty minutes, and the day is long


def test_what_is_folded_counts_before_the_tallies_have_it_and_not_twice_after() -> None:
    day = Day(0.095)
    spending = day.service()
    asyncio.run(spending.read())
    before = day.store.last_seq()
    day.decide(9)
    events, _ = day.store.read_evidence(before, 1_000)
    for event in events:
        if isinstance(event, OutcomeEvent):
            spending.paid(event.seq, event.outcome.cost_usd or 0.0)
    assert spending.standing.spent_usd == pytest.approx(0.09)
    assert spending.spent() is None
    asyncio.run(spending.read())
    assert spending.standing.spent_usd == pytest.approx(0.09)
    day.decide(1)
    asyncio.run(spending.read())
    assert spending.spent() is not None
    assert len(day.aims) == 2  # nothing is left to aim with


def test_what_is_counted_while_the_tallies_are_read_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    day = Day(1.0)
    spending = day.service()
    made, counted, moves = day.made, day.store.counted, iter([True])
    before = day.store.last_seq()
    for _ in range(9):
        made.step(Task("quick_qa", 500), lambda _: Answer(None, cost_usd=0.01))
    day.now = made._clock()
    for event in day.store.read_evidence(before, 1_000)[0]:
        if isinstance(event, OutcomeEvent):
            spending.paid(event.seq, event.outcome.cost_usd or 0.0)

    def moving() -> Counted:
        """The tallies move on as soon as somebody has looked how far they are."""
        found = counted()
        if next(moves, False):
            day.store.count_on(10_000)
        return found

    monkeypatch.setattr(day.store, "counted", moving)
    asyncio.run(spending.read())
    assert spending.standing.spent_usd == pytest.approx(0.09)


def test_the_next_day_has_its_own_money_at_once() -> None:
    day = Day(0.095)
    spending = day.service()
    day.decide(10)
    asyncio.run(spending.read())
    assert spending.spent() is not None
    day.now = spending.standing.ends_at
    assert spending.spent() is None
    asyncio.run(spending.read())
    assert spending.spent() is None
    assert spending.standing.spent_usd == 0.0


def test_a_fallback_is_the_next_cheapest_once_the_day_is_spent() -> None:
    catalog = load_shipped()
    learner = Learner()
    learner.register(facts_of(catalog.active))
    rules = parts.routing_rules(config.load(database_url="memory://"))
    spent = DayStanding(1.0, 1.0, 10.0, 0.0, 0.0, Exhausted.CHEAPEST)
    purse = SimpleNamespace(spent=lambda: spent)
    routing = RoutingService(Nowhere(), rules, posterior=learner.posterior, clock=lambda: 1.0, new_id=new_id, purse=purse)
    routing.use_catalog(catalog)
    task = Task("quick_qa", 500, weights=Weights(1.0, 0.0, 0.0))
    considered = routing.consider(task, Calling({}))
    assert considered is not None
    cost = dict(zip(considered.models, np.nan_to_num(considered.estimates.cost, nan=np.inf).tolist(), strict=True))
    order: list[str] = []
    for _ in range(4):
        chosen = routing.decide(task).model if not order else routing.next_best(task, Calling({}), order)
        assert chosen is not None
        order.append(chosen)
    assert [cost[model] for model in order] == sorted(cost.values())[:4]


class Nowhere:
    async def write(self, record: Write) -> Committed:
        raise AssertionError("these decisions are not logged")


async def test_the_pages_and_the_metrics_show_how_the_days_allowances_stand(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url="memory://", exploration_quality_per_day=2.0, exploration_usd_per_day=0.5, policy="uniform")
    async with running(settings) as (client, services):
        decided = (await client.post("/v1/route", json=ASKED)).json()
        record = services.store.decision(decided["decision_id"])
        assert record is not None
        assert record.decision.request["allowed"] == pytest.approx([0.02, 0.005])
        shown = (await client.get("/metrics")).text
        assert 'pointsman_allowance_limit{name="exploration_quality"} 2.0\n' in shown
        held = float(re.findall(r'pointsman_allowance_held\{name="exploration_usd"\} (\S+)', shown)[0])
        assert 0 <= held < 1.5 * 0.005, "a part is drawn where less than half of one is held"
        page = (await client.get("/budgets")).text
        assert "Exploring today" in page
        assert "of 2 points of quality" in page
        assert AuditService(services.store, decide_again).audit(decided["decision_id"]).exact is True
