"""What is older than it is kept goes, with all that belongs to it; what was learned stays, and positions are never given twice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.domain.events import Committed, Snapshot
from router.services.retention import RetentionService
from router.storage import postgres, schema
from router.storage.sql import SqlStore

DAY_S = 86_400.0


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    monkeypatch.setattr(postgres, "PARTITION", 20)
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
        schema.upgrade(url)
    else:
        url = request.getfixturevalue("postgres_url")
    made = SqlStore(url, "normal")
    yield made
    made.close()


def fill(store: SqlStore, make, days: int) -> None:
    """A decision with outcome and score on each day."""
    for day in range(days):
        store.commit([make.decision(f"d{day}", at=day * DAY_S), make.outcome(f"d{day}"), make.feedback(f"f{day}", f"d{day}")])


def settle(store: SqlStore) -> None:
    """Everything is in a snapshot and counted."""
    store.save_snapshot(Snapshot(store.last_seq(), 1, "x", b"state", 0.0))
    while store.count_on(1000) < store.last_seq():
        pass


def prune(store: SqlStore, now_day: int, days: float) -> int:
    service = RetentionService(store, days=days, leads=lambda: True, clock=lambda: now_day * DAY_S)
    return asyncio.run(service.prune())


def test_nothing_goes_that_is_not_learned_and_counted(store, make):
    fill(store, make, 10)
    assert prune(store, 100, 1) == 0
    store.save_snapshot(Snapshot(store.last_seq(), 1, "x", b"state", 0.0))
    assert prune(store, 100, 1) == 0
    settle(store)
    assert prune(store, 100, 1) == 9, "the end of the log stays"


def test_what_is_old_goes_and_the_rest_reads_on(store, make, monkeypatch):
    monkeypatch.setattr("router.services.retention._MANY", 7)
    fill(store, make, 40)
    settle(store)
    tallies = store.tallies(86_400, 0.0, "time")
    assert prune(store, 40, 10) == 31
    assert store.counts() == {"decisions": 9, "attempts": 0, "outcomes": 9, "cost_changes": 0, "feedback": 9}
    assert [event.seq for event in store.read_log(0, 1000)] == list(range(94, 121))
    assert store.read_evidence(0, 1000)[1] == 120
    assert store.decision("d30") is None
    assert store.decision("d31") is not None
    assert store.tallies(86_400, 0.0, "time") == tallies
    assert store.commit([make.decision("next")]) == [Committed(121, "next")]
    assert prune(store, 40, 10) == 0


def test_what_something_happened_to_waits_for_the_next_snapshot(store, make):
    fill(store, make, 10)
    settle(store)
    store.commit([make.change("f2", 0.5)])
    assert prune(store, 100, 1) == 9
    assert store.decision("d2") is not None
    store.commit([make.decision("new", at=100 * DAY_S)])
    settle(store)
    assert prune(store, 100, 1) == 1


def test_partitions_go_with_what_they_held(postgres_url, make, monkeypatch):
    monkeypatch.setattr(postgres, "PARTITION", 20)
    store = SqlStore(postgres_url, "normal")

    def partitions() -> int:
        with store._reader.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'decisions'::regclass").scalar_one()

    fill(store, make, 40)
    settle(store)
    before = partitions()
    assert prune(store, 40, 10) == 31
    assert before - partitions() == 4, "positions 1 to 93 are gone, in partitions of 20"
    store.close()
