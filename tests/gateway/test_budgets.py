"""What a key may spend holds whatever a call falls back to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.types import TextDelta
from router import parts
from router.domain.keys import Budget
from router.storage import schema
from router.storage.sql import SqlStore
from router.testing import Fault, Scenario, Stub
from tests.gateway.conftest import CATALOG, Gateway
from tests.keys.conftest import wanted
from tests.running import begin_at_noon

openai = pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

BUDGET_USD = 0.02
WORD_USD = 0.01
ASK: Any = [{"role": "user", "content": "Which signal is it?"}]


@pytest.fixture
def dear(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, str]]:
    """A gateway where beta/two costs ten thousand times what the others do, and a key that cannot pay for it."""
    monkeypatch.chdir(tmp_path)
    running_stub.forget()
    made = Gateway(tmp_path, running_stub)
    prices = 'input = 1.0, output = 2.0 }\n[[models]]\nid = "gamma/three"'
    yield from _with_key(made, CATALOG.replace(prices, prices.replace("1.0", "1e4").replace("2.0", "2e4")))


@pytest.fixture
def unpriced(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, str]]:
    """A gateway where nobody knows what beta/two and gamma/three cost, and a key with a budget."""
    monkeypatch.chdir(tmp_path)
    running_stub.forget()
    yield from _with_key(Gateway(tmp_path, running_stub), CATALOG.replace("price = { input = 1.0, output = 2.0 }\n", ""))


def _with_key(made: Gateway, catalog: str, usd: float = BUDGET_USD) -> Iterator[tuple[Gateway, str]]:
    (made.database.parent / "models.toml").write_text(catalog)
    schema.upgrade(made.settings.database_url)
    store = SqlStore(made.settings.database_url)
    keys, _ = parts.key_service(made.settings, store)
    _, token = asyncio.run(keys.create(wanted(budget=Budget(usd, "day"))))
    store.close()
    yield made.start(), token
    made.stop()


async def test_a_fallback_that_the_budget_does_not_cover_is_passed_over(dear: tuple[Gateway, str]) -> None:
    gateway, token = dear
    gateway.stub.script("one", Scenario(status=500))
    route = {"router": {"constraints": {"models": ["alpha/one", "beta/two", "gamma/three"]}, "weights": {"quality": 0, "cost": 1}}}
    async with gateway.client(api_key=token) as client:
        for _ in range(4):
            answer = await client.chat.completions.create(model="auto", messages=ASK, extra_body=route)
            assert answer.model == "gamma/three"
        route["router"]["constraints"] = {"models": ["alpha/one", "beta/two"]}
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model="auto", messages=ASK, extra_body=route)
        assert refused.value.status_code in (429, 502)
        gateway.stub.script("one", Scenario())
        assert (await client.chat.completions.create(model="gamma/three", messages=ASK)).model == "gamma/three", "nothing was lost"
    assert "two" not in {request.model for request in gateway.stub.requests}
    ((spent,),) = await gateway.settled("select sum(cost_usd) from outcomes where status = 'ok'", bool)
    assert 0 < spent < BUDGET_USD


async def test_a_named_model_that_the_budget_does_not_cover_is_refused(dear: tuple[Gateway, str]) -> None:
    gateway, token = dear
    async with gateway.client(api_key=token) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="beta/two", messages=ASK)
    assert refused.value.code == "budget_exhausted"
    assert gateway.stub.requests == []


async def test_a_model_whose_cost_nobody_knows_is_left_out_for_a_key_with_a_budget(unpriced: tuple[Gateway, str]) -> None:
    gateway, token = unpriced
    async with gateway.client(api_key=token) as client:
        for _ in range(3):
            answer = await client.chat.completions.create(model="auto", messages=ASK, extra_body={"router": {"policy": "uniform"}})
            assert answer.model == "alpha/one"
        with pytest.raises(openai.UnprocessableEntityError, match="price") as named:
            await client.chat.completions.create(model="beta/two", messages=ASK)
        assert named.value.code == "cost_unknown"
        only = {"router": {"constraints": {"models": ["beta/two", "gamma/three"]}, "allow_fallback": False}}
        with pytest.raises(openai.UnprocessableEntityError, match="price_unknown left out 2"):
            await client.chat.completions.create(model="auto", messages=ASK, extra_body=only)
        gateway.stub.script("one", Scenario(status=500))
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model="auto", messages=ASK)
    assert {request.model for request in gateway.stub.requests} == {"one"}, "no other was called, not even in place of one that failed"
    decided = gateway.rows("select excluded, request from decisions where not fallback")
    assert decided
    assert all("price_unknown" in excluded for excluded, _ in decided)
    assert all(f'"max_cost_usd":{BUDGET_USD}' in request for _, request in decided), "with which the decision can be taken again"


@pytest.fixture
def paced(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, str]]:
    """A gateway with a budget of the day, where a word of beta/two costs a cent, and a key with a budget."""
    monkeypatch.chdir(tmp_path)
    begin_at_noon(monkeypatch)
    running_stub.forget()
    prices = 'input = 1.0, output = 2.0 }\n[[models]]\nid = "gamma/three"'
    made = Gateway(tmp_path, running_stub, budget_usd_per_day=1e3)
    yield from _with_key(made, CATALOG.replace(prices, prices.replace("output = 2.0", "output = 1e4")), usd=100.0)


async def test_what_broke_off_is_spent(paced: tuple[Gateway, str]) -> None:
    gateway, token = paced
    gateway.stub.script("two", Scenario(text="word " * 40, fault=Fault.CUT, fault_after_chunks=20))
    streamed: Any = {"messages": ASK, "stream": True, "max_tokens": 100}
    route: Any = {"weights": {"quality": 0, "cost": 1}, "constraints": {"models": ["beta/two"]}, "policy": "uniform"}
    async with gateway.client(api_key=token) as client:
        stream = await client.chat.completions.create(model="auto", **streamed, extra_body={"router": route})
        with pytest.raises(openai.APIError):
            [chunk async for chunk in stream]
        query = "select status, estimated, last, error, output_tokens, cost_usd from attempts order by seq"
        ((*told, tokens, cost),) = await gateway.settled(query, bool)
        assert told == ["error", 1, 1, "ProviderDown"]
        assert tokens >= 10
        assert cost >= 10 * WORD_USD
        assert await gateway.settled("select cost_usd, cost_source from outcomes", bool) == [(cost, "computed")]
        route["constraints"] = {"models": ["beta/two", "gamma/three"]}
        while not gateway.rows("select 1 from attempts where last = 0 and cost_usd > 0"):  # until the draw falls on it
            stream = await client.chat.completions.create(model="auto", **streamed, extra_body={"router": route})
            assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop", "another took over before a piece was seen"
    query = "select count(*), sum(cost_usd) from outcomes where (select count(*) from outcomes) = (select count(*) from decisions)"
    ((_, ended),) = await gateway.settled(query, lambda rows: rows[0][0] > 0)
    ((seldom, least, unseen),) = gateway.rows("select count(*), min(cost_usd), sum(cost_usd) from attempts where last = 0")
    assert seldom >= 1
    assert least >= 10 * WORD_USD
    spent = ended + unseen
    assert gateway.services is not None
    assert gateway.services.spending is not None
    for _ in range(3_000):
        if (standing := gateway.services.spending.standing.spent_usd) == pytest.approx(spent):
            break
        await asyncio.sleep(0.02)
    assert standing == pytest.approx(spent), "of the day"
    gateway.stop()
    store = SqlStore(gateway.settings.database_url)
    (drawn,) = store.drawn_budgets().values()
    assert drawn / 1e9 == pytest.approx(spent, rel=1e-6), "of the key's budget"
    store.close()


class Faulty:
    """An adapter with a fault of its own, which is no refusal of a provider's."""

    def __init__(self, sound: Any) -> None:
        self.close = sound.close

    async def complete(self, request: Any) -> Any:
        raise KeyError("an answer that nobody foresaw")

    async def stream(self, request: Any) -> Any:
        yield TextDelta("three words came ")
        raise KeyError("an answer that nobody foresaw")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_fault_that_nobody_foresaw_holds_no_money_back(dear: tuple[Gateway, str], streamed: bool) -> None:
    gateway, token = dear
    services = gateway.services
    assert services is not None
    assert services.execution is not None
    adapters = services.execution.providers._adapters
    adapters["gamma"] = Faulty(adapters["gamma"])  # type: ignore[assignment]
    async with gateway.client(api_key=token) as client:
        with pytest.raises(openai.APIError):
            await _whole(client, {"model": "gamma/three", "messages": ASK, "stream": streamed})
    ((*told, cost),) = await gateway.settled("select status, estimated, error, cost_usd from attempts", bool)
    assert told == ["error", 1, "KeyError"]
    assert cost > 0
    (account,) = services.keys._accounts.values()
    assert account.used == pytest.approx(1e9 * cost, abs=1), "what was set aside is given back"
    assert await gateway.settled("select status from outcomes", bool) == [("error",)]


async def _whole(client: Any, ask: Any) -> None:
    answer = await client.chat.completions.create(**ask)
    async for _ in answer:
        pass
