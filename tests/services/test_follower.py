"""What goes wrong beside requests is told and tried again, and leaves no trace in what is learned."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from learning.learner import Learner
from router import config, telemetry
from router.domain.events import Evidence, OutcomeEvent
from router.domain.evidence import fold
from router.errors import StorageUnavailable
from router.services import follower as following
from router.services import training
from router.services.follower import Follower
from tests.running import begin_at_noon, running

ASKED: dict[str, Any] = {"task_type": "quick_qa", "context_tokens": 500}
SECRET = "postgresql://ada:lovelace@db/pointsman and what somebody asked"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_a_step_that_fails_is_told_without_its_words_and_taken_again(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    turns, steps = 0, 0
    seen, mended = asyncio.Event(), asyncio.Event()

    async def turn() -> None:
        nonlocal turns
        turns += 1
        await asyncio.sleep(0.0 if turns < 3 else 3600.0)

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps <= 3:
            raise ValueError(SECRET)
        seen.set()
        await mended.wait()

    made = Follower("part", turn, step, retry_s=0.001)
    made.start()
    await seen.wait()  # the fourth step, which succeeds once we have looked
    assert made.failures == 3
    assert made.trouble is not None
    assert (made.trouble.error, made.trouble.times) == ("ValueError", 3)
    assert made.troubled_for_s() > 0.0
    mended.set()
    await until(lambda: made.trouble is None)
    assert made.troubled_for_s() == 0.0
    await until(lambda: steps == 5)
    assert turns == 3  # a step that is taken again waits for no turn
    await made.close()
    assert not made.running
    told = logged(capsys)
    assert [line["event"] for line in told] == ["follower.failed"] * 3 + ["follower.recovered"]
    assert told[0]["error"] == "ValueError"
    assert any("test_follower.py" in place for place in told[0]["where"])
    assert SECRET not in json.dumps(told)


async def test_pauses_grow_after_a_fault_and_not_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await pause(0)

    monkeypatch.setattr(following.asyncio, "sleep", sleep)
    faults = [ValueError(), *(StorageUnavailable("away") for _ in range(3)), *(ValueError() for _ in range(8))]

    async def step() -> None:
        if faults:
            raise faults.pop(0)

    made = Follower("part", asyncio.Event().wait, step, retry_s=1.0)  # type: ignore[arg-type]
    made._turn = lambda: pause(0 if faults else 3600)  # type: ignore[method-assign, assignment]
    made.start()
    while made.trouble is not None or faults:
        await pause(0)
    await made.close()
    assert pauses == [1.0, 2.0, 2.0, 2.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


async def test_what_is_done_at_the_end_is_done_once_and_its_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    done = []

    async def last() -> None:
        done.append(1)
        raise StorageUnavailable("the database does not answer")

    made = Follower("part", asyncio.Event().wait, last, retry_s=1.0)  # type: ignore[arg-type]
    await made.close(last)
    assert not done, "it never ran"
    made.start()
    await made.close(last)
    await made.close(last)
    assert done == [1]
    assert [line["event"] for line in logged(capsys)] == ["follower.database_away"]


async def test_a_fold_that_raises_half_way_degrades_the_service_and_is_made_good(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    begin_at_noon(monkeypatch)
    monkeypatch.setattr(training, "_RETRY_S", 0.02)
    monkeypatch.setattr(training, "_TRIES", 10**9)  # it is mended in time, however slow the test
    telemetry.configure("warning")
    settings = config.load(database_url="memory://", budget_usd_per_day=50.0)
    async with running(settings) as (client, services):
        store: Any = services.store
        read, served, mended = store.read_evidence, threading.Event(), threading.Event()

        def damaged(after_seq: int, limit: int) -> tuple[list[Evidence], int]:
            """The last outcome lacks the end of its features: its fold raises, after those before it were folded."""
            served.wait(60)
            events, upto = read(after_seq, limit)
            if not mended.is_set():
                last = max(i for i, event in enumerate(events) if isinstance(event, OutcomeEvent))
                assert last > 2
                events[last] = replace(events[last], features=events[last].features[:-2])
            return events, upto

        async def serve(usd: float) -> None:
            decided = (await client.post("/v1/route", json=ASKED)).json()
            told = {"decision_id": decided["decision_id"], "latency_s": 1.0, "cost_usd": usd, "output_tokens": 50}
            assert (await client.post("/v1/outcomes", json=told)).status_code == 200

        await serve(1.0)
        await services.training.settle()  # type: ignore[attr-defined]
        ready = (await client.get("/readyz")).json()
        assert (ready["status"], ready["failing"]) == ("ready", [])
        monkeypatch.setattr(store, "read_evidence", damaged)
        for _ in range(5):
            await serve(0.5)
        served.set()
        follower = services.training.follower  # type: ignore[attr-defined]
        await until(lambda: follower.trouble is not None)
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        ready = answer.json()
        assert ready["status"] == "degraded"
        [failing] = ready["failing"]
        assert (failing["part"], failing["times"] >= 1, failing["for_s"] >= 0.0) == ("training", True, True)
        assert (await client.post("/v1/route", json=ASKED)).status_code == 200, "decisions go on"
        shown = (await client.get("/metrics")).text
        assert float(re.search(r'part_failures_total{part="training"} (\S+)', shown)[1]) >= 1.0  # type: ignore[index]
        assert float(re.search(r'part_failing_seconds{part="training"} (\S+)', shown)[1]) > 0.0  # type: ignore[index]
        mended.set()
        await services.training.settle()  # type: ignore[attr-defined]
        await until(lambda: follower.trouble is None)
        ready = (await client.get("/readyz")).json()
        assert (ready["status"], ready["failing"]) == ("ready", [])
        log = store.read_log(0, 100_000)
        learner = Learner(services.training._half_life, trusted=tuple(settings.trusted))  # type: ignore[attr-defined]
        for event in log:
            fold(learner, event)
        learner.advance(services.training.seq)
        assert services.training.digest == learner.digest(), "nothing counts twice"
        spent = sum(event.outcome.cost_usd or 0.0 for event in log if isinstance(event, OutcomeEvent))
        assert services.spending is not None
        assert services.spending.standing.spent_usd == pytest.approx(spent)
        assert spent == pytest.approx(3.5)
    failed = [line for line in logged(capsys) if line["event"] == "follower.failed"]
    assert {(line["part"], line["level"], line["error"]) for line in failed} == {("training", "error", failing["error"])}
    assert failed[0]["where"]
