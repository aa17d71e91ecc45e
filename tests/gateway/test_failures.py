"""One of three providers failing in each way: callers are answered, attempts stay few, the circuit opens and closes again."""

import asyncio
import time
from typing import Any

import pytest

from router.domain import breaker
from router.services import switching
from router.testing import Fault, Scenario
from tests.gateway.conftest import NAMES, Gateway
from tests.keys.conftest import Clock

openai = pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

ASK: Any = [{"role": "user", "content": "Which signal is it?"}]
WAYS = {
    "401": Scenario(status=401),
    "402": Scenario(status=402),
    "404": Scenario(status=404),
    "408": Scenario(status=408),
    "413": Scenario(status=413),
    "429": Scenario(status=429, retry_after="1"),
    "500": Scenario(status=500),
    "529": Scenario(status=529),
    "hang": Scenario(fault=Fault.HANG),
    "drop": Scenario(fault=Fault.DROP),
    "garbage": Scenario(fault=Fault.GARBAGE),
    "html": Scenario(fault=Fault.HTML),
}
EXPLORE = {"router": {"policy": "uniform"}}
ENOUGH = 80
"""Requests, so many that five go to the failing model whatever is drawn."""
SOME = 45
"""So many that one does."""
AT_ONCE = 4
"""Few enough that what fails before a circuit opens, five and those under way, stays below the reserve of further attempts."""


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The circuits' clock: a rest is over when the test says so, however long it takes."""
    made = Clock(100.0)
    monkeypatch.setattr(switching, "monotonic", made)
    return made


async def ask(client: Any, n: int, **options: Any) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Any:
        async with gate:
            return await client.chat.completions.create(model="auto", messages=ASK, extra_body=EXPLORE, **options)

    return await asyncio.gather(*(one() for _ in range(n)), return_exceptions=True)


@pytest.mark.parametrize("way", WAYS)
async def test_the_others_answer(gateway: Gateway, ticks: Clock, way: str) -> None:
    if way == "hang":
        object.__setattr__(gateway.services.execution.providers.adapter("alpha/one"), "_timeouts", _short(gateway))
    gateway.stub.script("one", WAYS[way])
    async with gateway.client() as client:
        answers = await ask(client, 150)
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    assert failures == []
    attempts = len(gateway.stub.requests)
    assert attempts / len(answers) <= 1.10, attempts
    served = [answer.model_extra["router"]["attempts"] for answer in answers]
    assert max(len(tried) for tried in served) <= 3
    failed = sum(request.model == "one" for request in gateway.stub.requests)
    assert failed < breaker.FAILURES_IN_A_ROW + AT_ONCE, "the circuit opens after five, and what was under way then ends"
    await gateway.settled("select count(*) from outcomes where status = 'ok'", lambda rows: rows == [(150,)])
    assert gateway.rows("select count(*) from attempts where forced = 1 and number = 1") == [(0,)]
    assert gateway.rows("select count(*) from attempts where number > 1 and forced = 0") == [(0,)]


def _short(gateway: Gateway) -> Any:
    from adapters.types import Timeouts

    return Timeouts(total_s=0.5, first_token_s=0.5)


async def test_a_circuit_opens_and_the_model_is_back_within_ten_seconds(gateway: Gateway, ticks: Clock) -> None:
    def asked() -> int:
        return sum(request.model == "one" for request in gateway.stub.requests)

    gateway.stub.script("one", Scenario(status=503))
    async with gateway.client() as client:
        await ask(client, ENOUGH)
        told = (await client.chat.completions.create(model="auto", messages=ASK)).model_extra["router"]
        assert told["model"] != "alpha/one"
        assert "circuit_open" in gateway.rows("select excluded from decisions order by seq desc limit 1")[0][0]
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(model="alpha/one", messages=ASK)
        assert "retry-after" in refused.value.response.headers
        before = asked()
        for probes in (1, 2, 3):  # each fails, and the rest grows
            ticks.now += breaker.LONGEST_REST_S
            await ask(client, SOME)
            assert asked() == before + probes, "one at a time"
        gateway.stub.script("one", Scenario())
        assert not any(answer.model == "alpha/one" for answer in await ask(client, SOME)), "it rests"
        ticks.now += 10.0
        assert any(answer.model == "alpha/one" for answer in await ask(client, SOME))


async def test_streams_share_the_circuit_and_fall_back_before_the_first_piece(gateway: Gateway, ticks: Clock) -> None:
    gateway.stub.script("one", Scenario(status=500))
    async with gateway.client() as client:
        streams = await ask(client, ENOUGH, stream=True)
        texts = [[chunk async for chunk in stream] for stream in streams]
        assert all(chunks[-1].choices[0].finish_reason == "stop" for chunks in texts)
        failed = sum(request.model == "one" for request in gateway.stub.requests)
        answers = await ask(client, ENOUGH)
        assert not any(isinstance(answer, Exception) for answer in answers)
    assert sum(request.model == "one" for request in gateway.stub.requests) == failed, "opened by streams, closed to whole answers"


async def broken(client: Any, n: int) -> int:
    """How many of n streams broke before their callers' eyes."""
    found = 0
    for stream in await ask(client, n, stream=True):
        try:
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].choices[0].finish_reason == "stop"
        except openai.APIError:
            found += 1
    return found


async def test_streams_that_break_open_the_circuit_and_its_probes_break_no_callers_stream(gateway: Gateway, ticks: Clock) -> None:
    gateway.stub.script("one", Scenario(fault=Fault.CUT))
    async with gateway.client() as client:
        assert 1 <= await broken(client, ENOUGH) <= 8, "the first, and what was under way"
        asked = sum(request.model == "one" for request in gateway.stub.requests)
        for probes in (1, 2):
            ticks.now += breaker.LONGEST_REST_S
            assert await broken(client, SOME) == 0
            assert sum(request.model == "one" for request in gateway.stub.requests) == asked + probes, "a probe went out and failed"
        gateway.stub.script("one", Scenario())
        ticks.now += breaker.LONGEST_REST_S
        assert await broken(client, SOME) == 0
        assert any(answer.model == "alpha/one" for answer in await ask(client, SOME)), "it is back"


async def test_a_model_whose_streams_alone_break_breaks_few(gateway: Gateway, ticks: Clock) -> None:
    """Whole answers close its circuit again and again; its streams are handed over when they are whole."""
    gateway.stub.script("one", Scenario(fault=Fault.STREAM_ERROR))
    async with gateway.client() as client:
        assert 1 <= await broken(client, ENOUGH) <= 8
        for _ in range(3):
            ticks.now += breaker.LONGEST_REST_S
            answers = await ask(client, ENOUGH)
            assert not any(isinstance(answer, Exception) for answer in answers)
            assert any(answer.model == "alpha/one" for answer in answers)
            assert await broken(client, 12) == 0


async def test_where_all_fail_the_caller_learns_when_to_return(gateway: Gateway) -> None:
    for name in NAMES:
        gateway.stub.script(name, Scenario(status=429, retry_after="7"))
    async with gateway.client() as client:
        with pytest.raises(openai.InternalServerError) as busy:
            await client.chat.completions.create(model="auto", messages=ASK)
        assert busy.value.status_code == 503
        assert 1 <= int(busy.value.response.headers["retry-after"]) <= 7
        assert len(gateway.stub.requests) == 3
        gateway.stub.script("one", Scenario(status=500))
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model="auto", messages=ASK)
        assert failed.value.status_code == 502
        assert failed.value.code == "all_models_failed"


async def test_a_named_model_is_tried_again_after_the_wait_it_asks_for(gateway: Gateway) -> None:
    gateway.stub.script("two", Scenario(status=429, retry_after="1"), Scenario())
    async with gateway.client() as client:
        begun = time.monotonic()
        answer = await client.chat.completions.create(model="beta/two", messages=ASK)
    assert time.monotonic() - begun >= 1.0
    assert [(a["model"], a["status"]) for a in answer.model_extra["router"]["attempts"]] == [("beta/two", "error"), ("beta/two", "ok")]


async def test_an_outage_moves_no_quality(gateway: Gateway) -> None:
    def learned() -> dict[str, Any]:
        report = gateway.services.training.report("haiku")
        return {model.model: model.quality for model in report.task_types[0].models}

    before = learned()
    gateway.stub.script("one", Scenario(status=500))
    async with gateway.client() as client:
        await ask(client, 40)
    await gateway.settled("select count(*) from outcomes", lambda rows: rows == [(40,)])
    async with asyncio.timeout(60):
        while gateway.services.training.lag:  # noqa: ASYNC110 - the service lives in another thread
            await asyncio.sleep(0.02)
    assert learned() == before
