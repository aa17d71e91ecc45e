"""Limits on money change while services run: at once here, soon elsewhere, over restarts, and no decision is the less recomputable."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import config
from router.api.services import Services
from router.api.views.budgets import BudgetsView
from router.cli.app import run
from router.domain.overrides import Override
from router.domain.tallies import DAY_S
from router.errors import StorageUnavailable
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.services.overrides import OverrideService
from router.storage.memory import MemoryStore
from tests.replicas.test_replicas import replicas
from tests.running import begin_at_noon, running

ASKED: dict[str, Any] = {"task_type": "quick_qa", "context_tokens": 500, "weights": {"quality": 1.0, "cost": 0.0, "latency": 0.0}}

DAY = 20_000 * int(DAY_S)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    begin_at_noon(monkeypatch)


async def changed(client: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await client.patch("/v1/budgets", json=values)
    assert answer.status_code == 200, answer.text
    BudgetsView.model_validate_json(answer.content, strict=True)
    told: dict[str, Any] = answer.json()
    return told


async def decided(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/v1/route", json=ASKED)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def spend(client: httpx.AsyncClient, services: Services, usd: float) -> None:
    decision = await decided(client)
    told = await client.post("/v1/outcomes", json={"decision_id": decision["decision_id"], "latency_s": 1.0, "cost_usd": usd})
    assert told.status_code == 200
    await services.training.settle()  # type: ignore[attr-defined]


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about within a minute")


async def test_what_is_set_stands_over_the_settings_until_it_is_lifted_and_over_restarts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/b.db"
    settings = config.load(database_url=url, durability="normal", budget_usd_per_day=50.0, budget_usd_per_request=0.02)
    async with running(settings) as (client, _):
        shown = (await client.get("/v1/budgets")).json()
        day = {"value": 50.0, "source": "settings", "setting": 50.0, "at": None, "key_id": None}
        assert shown["limits"]["usd_per_day"] == day
        assert shown["limits"]["exhausted"]["value"] == "cheapest"
        assert (shown["today"]["spent_usd"], shown["today"]["remaining_usd"], shown["today"]["spent"]) == (0.0, 50.0, False)
        assert shown["aim_usd_per_request"] == 0.02
        made = (await client.post("/v1/keys", json={"name": "operator", "scopes": ["admin", "route"]})).json()
        bearer = {"Authorization": f"Bearer {made['key']}"}
        client.headers.update(bearer)
        shown = await changed(client, usd_per_day=20.0, exhausted="refuse")
        limit = shown["limits"]["usd_per_day"]
        assert (limit["value"], limit["source"], limit["setting"], limit["key_id"]) == (20.0, "run time", 50.0, made["id"])
        assert limit["at"] > 0
        assert shown["today"]["remaining_usd"] == 20.0
    async with running(settings) as (client, _):
        client.headers.update(bearer)
        shown = (await client.get("/v1/budgets")).json()
        assert (shown["limits"]["usd_per_day"], shown["limits"]["exhausted"]["value"]) == (limit, "refuse")
        shown = await changed(client, usd_per_day=None)
        assert shown["limits"]["usd_per_day"] == day
        assert shown["limits"]["exhausted"]["value"] == "refuse", "what is not named stays"
        assert shown["today"]["remaining_usd"] == 50.0


async def test_a_limit_that_is_set_counts_what_was_spent_before_and_holds_at_once() -> None:
    async with running(config.load(database_url="memory://")) as (client, services):
        await spend(client, services, 0.03)
        assert (await decided(client))["policy"]["name"] == "thompson"
        shown = await changed(client, usd_per_day=0.02)
        assert (shown["today"]["spent_usd"], shown["today"]["spent"]) == (pytest.approx(0.03), True)
        assert (await decided(client))["policy"]["name"] == "budget"
        assert "pointsman_day_budget_usd 0.02\n" in (await client.get("/metrics")).text
        assert "cheapest eligible model answers" in (await client.get("/budgets")).text
        await changed(client, exhausted="refuse")
        refused = await client.post("/v1/route", json=ASKED)
        assert (refused.status_code, "PATCH /v1/budgets" in refused.json()["error"]["remedy"]) == (429, True)
        shown = await changed(client, usd_per_day=0.5)
        assert (await decided(client))["policy"]["name"] == "thompson"
        await spend(client, services, 0.47)
        assert (await client.post("/v1/route", json=ASKED)).status_code == 429, "what is paid from now on counts, too"
        shown = await changed(client, usd_per_day=None, exhausted=None)
        assert shown["today"]["remaining_usd"] is None
        assert shown["aim_usd_per_request"] is None
        assert shown["today"]["spent_usd"] == pytest.approx(0.5), "without a limit, as far as it is counted"
        assert (await decided(client))["policy"]["name"] == "thompson"
        assert "pointsman_day_budget_usd" not in (await client.get("/metrics")).text


async def test_the_price_of_money_comes_and_goes_with_the_limit_and_the_stricter_one_counts() -> None:
    async with running(config.load(database_url="memory://")) as (client, services):

        async def money() -> float:
            record = services.store.decision((await decided(client))["decision_id"])
            assert record is not None
            return float(record.decision.request.get("money", 0.0))

        assert await money() == 0.0
        shown = await changed(client, usd_per_request=1e-6)
        assert shown["aim_usd_per_request"] == 1e-6
        assert await money() > 0
        assert (await client.get("/v1/budgets")).json()["utility_per_usd"] > 0
        shown = await changed(client, usd_per_day=1_000.0)
        assert shown["aim_usd_per_request"] == 1e-6, "a request's own limit is less than what the day leaves for each"
        shown = await changed(client, usd_per_request=None)
        requests = shown["today"]["expected_requests"]
        assert shown["aim_usd_per_request"] == pytest.approx(1_000.0 / requests, rel=0.2)
        shown = await changed(client, usd_per_day=None, usd_per_request=2e-6)
        assert shown["aim_usd_per_request"] == 2e-6
        await changed(client, usd_per_request=None)
        assert await money() == 0.0


async def test_exploring_is_limited_and_let_go_while_the_service_runs() -> None:
    settings = config.load(database_url="memory://", policy="uniform", exploration_usd_per_day=5.0)
    async with running(settings) as (client, services):

        async def allowed() -> list[float | None] | None:
            record = services.store.decision((await decided(client))["decision_id"])
            assert record is not None
            found: list[float | None] | None = record.decision.request.get("allowed")
            return found

        assert await allowed() == [None, pytest.approx(0.05)]
        shown = await changed(client, exploration_quality_per_day=2.0)
        quality, usd = await allowed() or (None, None)
        assert quality == pytest.approx(0.02)
        assert usd is not None
        assert set(shown["today"]["explored"]) == {"exploration_quality_per_day", "exploration_usd_per_day"}
        assert shown["today"]["explored"]["exploration_quality_per_day"] == pytest.approx(0.02)
        await changed(client, exploration_quality_per_day=4.0)
        before = services.store.allowances(DAY)["exploration_quality"]
        await changed(client, exploration_quality_per_day=None)
        assert services.store.allowances(DAY)["exploration_quality"] == before - 40_000_000, "what was held is put back"
        assert (await allowed() or [1.0])[0] is None


async def test_decisions_before_and_after_every_change_recompute_to_the_last_bit(tmp_path: Path) -> None:
    settings = config.load(database_url=f"sqlite:///{tmp_path}/b.db", durability="normal")
    changes: list[dict[str, Any]] = [
        {},
        {"usd_per_request": 1e-6},
        {"usd_per_request": 3e-5, "exploration_quality_per_day": 2.0},
        {"usd_per_day": 0.01},
        {"usd_per_request": None, "usd_per_day": 0.2},
        {"exploration_quality_per_day": None, "exploration_usd_per_day": 0.01},
        {"usd_per_day": None, "exploration_usd_per_day": None},
    ]
    async with running(settings) as (client, services):
        for change in changes:
            if change:
                await changed(client, **change)
            for _ in range(9):
                await decided(client)
            await spend(client, services, 0.012)
        records = services.store.decisions(limit=1_000)
        service = AuditService(services.store, decide_again)
        told = [service.recompute(record) for record in reversed(records)]
    assert Counter(audit.exact for audit in told) == {True: 10 * len(changes)}, [audit for audit in told if not audit.exact][:2]
    assert Counter(record.decision.policy for record in records).keys() == {"thompson", "budget"}
    prices = {record.decision.request.get("money", 0.0) for record in records}
    assert 0.0 in prices
    assert len(prices) >= 4
    assert sum("allowed" in record.decision.request for record in records) >= 10
    assert len({record.decision.policy_version for record in records}) == 1


async def test_services_on_one_database_take_up_what_is_set_on_another(postgres_url: str) -> None:
    async with replicas(postgres_url, 2) as (one, two):
        await changed(one.client, usd_per_day=7.0, exploration_usd_per_day=0.5)
        await until(lambda: two.services.budgets.limits.usd_per_day == 7.0)  # type: ignore[union-attr]
        limit = (await two.client.get("/v1/budgets")).json()["limits"]["usd_per_day"]
        assert (limit["value"], limit["source"], limit["setting"]) == (7.0, "run time", None)
        await changed(two.client, usd_per_day=None)
        await until(lambda: one.services.budgets.limits.usd_per_day is None)  # type: ignore[union-attr]
        assert one.services.budgets.limits.exploration_usd_per_day == 0.5  # type: ignore[union-attr]
        kept = one.services.store.overrides(0)
        assert [(row.name, row.value) for row in kept if row.name == "usd_per_day"] == [("usd_per_day", 7.0), ("usd_per_day", None)]


async def test_the_command_line_speaks_to_a_running_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/b.db"

    def command(*line: str) -> tuple[int, str, str]:
        status = run([*line, "--database-url", url])
        told = capsys.readouterr()
        return status, told.out[max(0, told.out.find("{\n")) :], told.err  # without what the service logs

    async with running(config.load(database_url=url, durability="normal")) as (client, services):
        status, out, _ = await asyncio.to_thread(command, "budgets", "set", "--usd-per-day", "3", "--exhausted", "refuse", "--json")
        assert (status, json.loads(out)["limits"]["usd_per_day"]["source"]) == (0, "run time")
        await until(lambda: services.budgets is not None and services.budgets.limits.usd_per_day == 3.0)
        await changed(client, usd_per_request=0.5)
        status, out, _ = await asyncio.to_thread(command, "budgets", "show")
        assert status == 0
        assert "$3.00" in out
        assert "over no limit" in out
        assert "BUDGET" not in out.split("usd_per_request")[1].splitlines()[0]
        status, out, _ = await asyncio.to_thread(command, "budgets", "lift", "usd-per-day", "--json")
        assert json.loads(out)["limits"]["usd_per_day"] == {
            "value": None,
            "source": "settings",
            "setting": None,
            "at": None,
            "key_id": None,
        }
        await until(lambda: services.budgets is not None and services.budgets.limits.usd_per_day is None)
    for line, field in (
        (("budgets", "set", "--usd-per-day", "0"), "usd_per_day"),
        (("budgets", "set", "--usd-per-day", "nan"), "usd_per_day"),
        (("budgets", "set", "--usd-per-day", "0.1"), "usd_per_day"),
        (("budgets", "set", "--exhausted", "stop"), "exhausted"),
        (("budgets", "set"), "name"),
        (("budgets", "lift", "usd_per_year"), "name"),
    ):
        status, _, err = await asyncio.to_thread(command, *line)
        assert (status, err.count("\n"), f"[{field}]" in err) == (2, 1, True), (line, err)


async def test_the_check_of_the_settings_says_what_stands_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/b.db"
    monkeypatch.setenv("POINTSMAN_DATABASE_URL", url)

    def command(*line: str) -> str:
        assert run(line) == 0
        return capsys.readouterr().out

    assert await asyncio.to_thread(command, "budgets", "set", "--usd-per-day", "3")
    (told,) = json.loads(await asyncio.to_thread(command, "config", "check", "--json"))["run_time"]
    assert (told["name"], told["value"], told["setting"]) == ("usd_per_day", 3.0, "budget_usd_per_day")
    assert "budget usd_per_day = 3.0 was set at run time" in await asyncio.to_thread(command, "config", "check")
    await asyncio.to_thread(command, "budgets", "lift", "usd_per_day")
    assert json.loads(await asyncio.to_thread(command, "config", "check", "--json"))["run_time"] == []


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("usd_per_day", "{}"),
        ("usd_per_day", '{"usd_per_day": 0}'),
        ("usd_per_day", '{"usd_per_day": -1}'),
        ("usd_per_day", '{"usd_per_day": "5"}'),
        ("usd_per_day", '{"usd_per_day": NaN}'),
        ("usd_per_day", '{"usd_per_day": 1e999}'),
        ("usd_per_day", '{"usd_per_day": 1000001}'),
        ("usd_per_day", '{"usd_per_day": true}'),
        ("usd_per_day", '{"usd_per_day": 1, "usd_per_request": 2}'),
        ("usd_per_request", '{"usd_per_request": [1]}'),
        ("exhausted", '{"exhausted": "xq7markerq7x"}'),
        ("exploration_quality_per_day", '{"exploration_quality_per_day": 0}'),
        ("usd_per_year", '{"usd_per_year": 5}'),
        ("key_id", '{"usd_per_day": 5, "key_id": "key_1"}'),
        ("body", "[]"),
    ],
)
async def test_bad_limits_are_refused_by_name(field: str, body: str) -> None:
    async with running(config.load(database_url="memory://")) as (client, services):
        answer = await client.patch("/v1/budgets", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
        assert answer.json()["error"]["remedy"]
        assert "xq7markerq7x" not in answer.text
        assert services.store.overrides(0) == []


class Unsteady(MemoryStore):
    """Answers no reads of the tallies for a while."""

    away = False

    def counted(self) -> Any:
        if self.away:
            raise StorageUnavailable("the database does not answer")
        return super().counted()


async def test_what_could_not_be_applied_is_applied_once_the_database_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from router import parts

    store = Unsteady()
    monkeypatch.setattr(parts, "open_store", lambda _settings: (store, "memory"))
    async with running(config.load(database_url="memory://")) as (client, services):
        await spend(client, services, 0.03)
        store.away = True
        assert (await client.patch("/v1/budgets", json={"usd_per_day": 0.02})).status_code == 503
        store.away = False
        for _ in range(3_000):
            if (await decided(client))["policy"]["name"] == "budget":
                break
            await asyncio.sleep(0.02)
        assert (await decided(client))["policy"]["name"] == "budget"


async def test_what_holds_already_is_not_kept_again_and_what_is_not_known_is_left_aside() -> None:
    store = MemoryStore()
    store.add_overrides([Override("weather", "rain", 1, 1.0, None), Override("budget", "usd_per_moon", 1.0, 1.0, None)])
    seen: list[dict[str, Any]] = []

    async def use(overrides: Any) -> None:
        seen.append({name: one.value for name, one in overrides.items()})

    service = OverrideService(store, clock=lambda: 5.0)
    service.use("budget", use)
    await service.load()
    for value in (2.0, 2.0, None, None):
        await service.change("budget", {"usd_per_day": value}, "key_1", lambda _: None)
    assert [one.value for one in store.overrides(2)] == [2.0, None]
    assert seen == [{"usd_per_moon": 1.0}, {"usd_per_moon": 1.0, "usd_per_day": 2.0}, {"usd_per_moon": 1.0, "usd_per_day": None}]
    async with running(config.load(database_url="memory://")) as (client, _):
        assert (await changed(client, usd_per_day=None))["limits"]["usd_per_day"]["source"] == "settings"
