"""The fold beside requests: what it tells, and what it does about records that it cannot fold."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from learning.choice import Preference
from learning.learner import Learner
from router import config, telemetry
from router.cli.app import run
from router.domain.events import LogEvent, News, Regime
from router.domain.evidence import fold
from router.domain.models import Model, Price
from router.errors import StorageUnavailable
from router.ports import Store
from router.services.training import TrainingService
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore
from tests.running import running
from tests.services.evidence import play

MODEL = Model("a/one", "a", "one", "one", 8_000, price=Price(1.0, 2.0))
REGIME = Regime("c1", "p1", {}, (MODEL,), 1.0)


@asynccontextmanager
async def training(store: Store) -> AsyncIterator[TrainingService]:
    preference = Preference(1.0, 30.0, 0.01)
    service = TrainingService(store, half_life_records=1e9, preference=preference, policy=("thompson", "1"), clock=lambda: 0.0)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


def logged(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["event"] == event]


async def test_an_incident_is_told_once_and_not_again_after_a_restart(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    store = MemoryStore()
    store.commit([REGIME])
    play(store, "quick_qa", "a/one", [0.9, 0.8] * 100)
    async with training(store) as service:
        assert not service.incidents
        play(store, "quick_qa", "a/one", [0.1, 0.2] * 60, name="b")
        await service.settle()
        assert service.incidents
    assert len(logged(capsys, "incident.opened")) == len(service.incidents)
    async with training(store) as service:  # from the snapshot that was kept at the end
        play(store, "quick_qa", "a/one", [0.1], name="c")
        await service.settle()
        assert service.incidents
    assert logged(capsys, "incident.opened") == []


async def test_only_a_log_that_ends_before_what_was_folded_when_it_was_looked_at_went_back(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    store = MemoryStore()
    store.commit([REGIME])
    play(store, "quick_qa", "a/one", [0.9] * 20)
    async with training(store) as service:
        end, digest = service.seq, service.digest
        service.hear(News(end - 3, folded=end - 3))  # looked at before the last commits, which were folded since
        await service.settle()
        assert (service.seq, service.digest, logged(capsys, "training.folds_anew")) == (end, digest, [])
        service.hear(News(end - 3, folded=end))  # as a server says that lost what it did not promise
        await service.settle()
        assert service.digest == digest
    assert len(logged(capsys, "training.folds_anew")) == 1


DAMAGE = {  # of a row, and back
    "feedback": ("UPDATE feedback SET others = '{' WHERE seq = ?", "UPDATE feedback SET others = '[]' WHERE seq = ?"),
    "outcome": ("UPDATE outcomes SET status = 'odd' WHERE seq = ?", "UPDATE outcomes SET status = 'ok' WHERE seq = ?"),
}


def at(file: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(statement, values).fetchall()


async def use(client: httpx.AsyncClient, times: int) -> None:
    for i in range(times):
        decided = (await client.post("/v1/route", json={"task_type": "quick_qa", "context_tokens": 500})).json()["decision_id"]
        outcome = {"decision_id": decided, "latency_s": 1.0, "cost_usd": 0.01, "output_tokens": 50}
        assert (await client.post("/v1/outcomes", json=outcome)).status_code == 200
        assert (await client.post("/v1/feedback", json={"decision_id": decided, "score": i % 2, "judge": "human"})).status_code == 200


def folded(url: str, settings: config.Settings, keep: Callable[[LogEvent], bool]) -> str:
    """The digest of the log without the events that are not to be kept."""
    store = SqlStore(url)
    learner = Learner(settings.half_life_decisions * 3, trusted=tuple(settings.trusted))
    events, last = store.read_evidence(0, 100_000)
    for event in events:
        if keep(event):
            fold(learner, event)
    learner.advance(last)
    store.close()
    return learner.digest()


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_record_that_can_never_be_folded_is_set_aside_and_the_rest_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, far: bool
) -> None:
    telemetry.configure("warning")
    monkeypatch.setattr("router.services.training.FAR", 10 if far else 10_000)
    file = tmp_path / "log.db"
    url = f"sqlite:///{file}"
    settings = config.load(database_url=url, log_level="warning")
    async with running(settings) as (client, services):
        await use(client, 12)
        whole = services.training.digest
    table = {"feedback": "feedback", "outcome": "outcomes"}[kind]
    seq, decision_seq = at(file, f"SELECT seq, decision_seq FROM {table} ORDER BY seq LIMIT 1 OFFSET 5")[0]
    at(file, DAMAGE[kind][0], seq)
    at(file, "DELETE FROM snapshots")
    capsys.readouterr()
    digests = []
    for _ in range(2):  # the second start knows
        async with running(settings) as (client, services):
            ready = (await client.get("/readyz")).json()
            assert (ready["status"], ready["lag"], ready["set_aside"]) == ("ready", 0, {kind: 1})
            assert f'pointsman_set_aside_records{{kind="{kind}"}} 1.0' in (await client.get("/metrics")).text
            digests.append((services.training.seq, services.training.digest))
            assert (await client.post("/v1/route", json={"task_type": "quick_qa"})).status_code == 200
    told = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["event"].startswith("training.record")]
    assert [line["event"] for line in told] == ["training.record_set_aside", "training.records_set_aside"]
    assert (told[0]["seq"], told[0]["kind"], told[0]["decision_seq"]) == (seq, kind, decision_seq)

    def kept(event: LogEvent) -> bool:
        return getattr(event, "decision_seq", 0) != decision_seq or event.seq < seq

    assert folded(url, settings, kept) == services.training.digest
    assert run(["db", "check", "--database-url", url]) == 0
    assert f"the {kind} at log position {seq}, about the decision at {decision_seq}, could not be learned" in capsys.readouterr().out
    assert run(["db", "check", "--database-url", url, "--json"]) == 0
    [record] = json.loads(capsys.readouterr().out)["set_aside"]
    assert (record["seq"], record["kind"]) == (seq, kind)

    at(file, DAMAGE[kind][1], seq)
    assert run(["db", "retry", "--database-url", url]) == 0
    assert capsys.readouterr().out.startswith("1 records will be tried again")
    async with running(settings) as (client, services):
        assert (await client.get("/readyz")).json()["set_aside"] == {}
    assert folded(url, settings, lambda _: True) == services.training.digest
    assert services.training.digest != whole, "decisions were added"


async def test_more_than_single_records_that_cannot_be_folded_end_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that does not fit the log must not unlearn it bit by bit."""
    monkeypatch.setattr("router.services.training.MOST", 3)
    file = tmp_path / "log.db"
    settings = config.load(database_url=f"sqlite:///{file}", log_level="error")
    async with running(settings) as (client, _):
        await use(client, 6)
    at(file, "DELETE FROM snapshots")
    at(file, "UPDATE outcomes SET status = 'odd'")
    with pytest.raises(StorageUnavailable, match="more than 3 records") as refused:
        async with running(settings):
            pass
    assert "the outcome at log position" in str(refused.value.why)
    assert at(file, "SELECT count(*) FROM set_aside") == [(3,)]


async def test_a_running_service_sets_aside_what_fails_time_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.services.training._RETRY_S", 0.01)
    failing: list[int] = []
    real = fold

    def folding(learner: Learner, event: LogEvent) -> None:
        if event.seq in failing:
            raise ArithmeticError("of the numbers that somebody sent")
        real(learner, event)

    monkeypatch.setattr("router.services.training.fold", folding)
    settings = config.load(database_url=f"sqlite:///{tmp_path / 'log.db'}", log_level="error")
    async with running(settings) as (client, services):
        await use(client, 3)
        await services.training.settle()  # type: ignore[attr-defined]
        failing.append(services.training.seq + 2)  # the outcome of the next decision
        await use(client, 2)
        await services.training.settle()  # type: ignore[attr-defined]
        ready = (await client.get("/readyz")).json()
        assert (ready["lag"], ready["set_aside"]) == (0, {"outcome": 1})
        [record] = services.store.all_set_aside()
        assert (record.seq, record.error) == (failing[0], "ArithmeticError")
        assert services.training.follower.failures == 2  # type: ignore[attr-defined]
