"""Judging in the service: over real sockets, in the background, within the share and the budget, and without a trace of text."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.testing import Scenario, Stub
from router.testing.scenarios import Asked
from tests.gateway.conftest import Gateway
from tests.running import begin_at_noon

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

PROMPT, ANSWER = "Which river flows through Zanzibarville?", "The Quellwasserbach flows through it."
ASK: Any = [{"role": "user", "content": PROMPT}]
JUDGE = "gamma/three"
SCORES = "select f.judge, f.score, f.cost_usd, f.sampling, f.model from feedback f order by f.seq"


def grading(asked: Asked) -> str:
    """Judges as the rubric judge is asked to."""
    shown = json.loads(asked.messages[-1].text)
    assert PROMPT in shown["task"]
    return json.dumps({"grade": "excellent" if shown["answer"] == ANSWER else "wrong"})


@pytest.fixture(scope="module")
def running_stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def judged(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway with judging, in the middle of a day."""
    monkeypatch.chdir(tmp_path)
    begin_at_noon(monkeypatch)
    running_stub.forget()
    running_stub.script("one", Scenario(text=ANSWER))
    running_stub.script("two", Scenario(text=ANSWER))
    running_stub.script("three", Scenario(write=grading))
    started: list[Gateway] = []

    def start(**settings: Any) -> Gateway:
        made = Gateway(tmp_path, running_stub, **({"judge_share": 1.0, "judge_models": JUDGE} | settings)).start()
        started.append(made)
        return made

    yield start
    for gateway in started:
        gateway.stop()


def tally(gateway: Gateway) -> Any:
    assert gateway.services is not None
    assert gateway.services.judging is not None
    return gateway.services.judging.tally


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


async def ask(gateway: Gateway, model: str, calls: int = 1, **options: Any) -> None:
    async with gateway.client() as client:
        for _ in range(calls):
            await client.chat.completions.create(model=model, messages=ASK, **options)


async def test_answers_are_scored_in_the_log_with_judge_cost_and_probability(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    await ask(gateway, "alpha/one", 3)
    rows = await gateway.settled(SCORES, lambda rows: len(rows) == 3)
    for judge, score, cost, sampling, model in rows:
        assert judge.startswith(f"rubric:{JUDGE}@")
        assert (score, sampling, model) == (1.0, 1.0, "alpha/one")
        assert 0 < cost < 0.01
    await until(lambda: tally(gateway).judged == 3)  # the service hears of what is durable after the file holds it
    await until(lambda: tally(gateway).spent_usd == pytest.approx(sum(row[2] for row in rows)))


async def test_a_stream_is_judged_whole(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    async with gateway.client() as client:
        stream = await client.chat.completions.create(model="beta/two", messages=ASK, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == ANSWER
    await gateway.settled(SCORES, lambda rows: [row[1] for row in rows] == [1.0])


async def test_the_caller_does_not_wait_for_the_judge(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    gateway.stub.script("three", Scenario(write=grading, latency_s=3600))
    await ask(gateway, "alpha/one", 5)  # would not return before the judge does
    assert tally(gateway).drawn == 5
    assert gateway.rows(SCORES) == []


async def test_no_model_judges_its_own_kind(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    gateway.stub.script("three", Scenario(text=ANSWER))
    await ask(gateway, "gamma/three", 2)
    assert tally(gateway).passed_over == {"no judge of another family can be called": 2}
    assert tally(gateway).drawn == 0


async def test_the_first_judge_that_can_be_called_judges(judged: Callable[..., Gateway]) -> None:
    gateway = judged(judge_models=f"openai/gpt-4o, nobody/nothing, {JUDGE}")  # the first has no key here, the second is unknown
    await ask(gateway, "alpha/one")
    await gateway.settled(SCORES, lambda rows: [row[0].partition("@")[0] for row in rows] == [f"rubric:{JUDGE}"])
    assert tally(gateway).failed == 0


async def test_the_days_budget_is_kept_and_remembered(judged: Callable[..., Gateway], tmp_path: Path) -> None:
    most = 0.0045  # a judgement is set down as about 0.0026 before it is made
    gateway = judged(judge_budget_usd_per_day=most)
    await ask(gateway, "alpha/one", 60)
    await until(lambda: tally(gateway).waiting == 0 and tally(gateway).judged == tally(gateway).drawn > 0)
    gateway.stop()
    spent = tally(gateway).spent_usd
    assert spent <= most
    assert tally(gateway).passed_over["the day's budget is spent"] > 0
    again = judged(judge_budget_usd_per_day=most)
    assert tally(again).spent_usd == pytest.approx(spent)


async def test_a_reply_that_is_no_score_leaves_none(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    gateway.stub.script("three", Scenario(text="This answer deserves full marks."), Scenario(status=500), Scenario(write=grading))
    await ask(gateway, "alpha/one", 3)
    await until(lambda: (tally(gateway).judged, tally(gateway).unreadable, tally(gateway).failed) == (1, 1, 1))
    assert len(gateway.rows(SCORES)) == 1


async def test_pictures_are_passed_over(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    async with gateway.client() as client:
        await client.chat.completions.create(
            model="alpha/one", messages=[{"role": "user", "content": [picture, {"type": "text", "text": PROMPT}]}]
        )
    assert tally(gateway).passed_over == {"no text to judge": 1}


async def test_no_text_reaches_the_disk(judged: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway = judged()
    await ask(gateway, "alpha/one", 2)
    await gateway.settled(SCORES, lambda rows: len(rows) == 2)
    gateway.stop()
    for path in tmp_path.rglob("*"):  # noqa: ASYNC240 - nothing else runs on this loop
        if path.is_file():
            held = path.read_bytes()
            assert b"Zanzibarville" not in held, path
            assert b"Quellwasserbach" not in held, path


async def test_what_waits_does_not_show_its_text(judged: Callable[..., Gateway]) -> None:
    gateway = judged()
    gateway.stub.script("three", Scenario(write=grading, latency_s=3600))
    await ask(gateway, "alpha/one", 5)
    assert gateway.services is not None
    shown = repr([item for _, _, item in gateway.services.judging._waiting])  # type: ignore[union-attr]
    assert "alpha/one" not in shown
    assert "Zanzibarville" not in shown
    assert "Quellwasserbach" not in shown


def test_a_share_without_a_judge_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from router import config
    from router.errors import ConfigurationInvalid

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationInvalid, match="judge_models must name who judges"):
        config.load(judge_share=0.1)
    assert config.load(judge_share=0.1, judge_models="openai/gpt-4o-mini, anthropic/claude-haiku-4-5").judges == (
        "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5",
    )  # fmt: skip
