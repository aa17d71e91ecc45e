"""Random histories: both stores tell the same story, and it folds and unfolds exactly."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from router.domain.events import (
    Committed,
    CostChange,
    CostEvent,
    CostSource,
    Feedback,
    FeedbackChange,
    FeedbackEvent,
    LogEvent,
    Outcome,
    OutcomeEvent,
    Status,
    Write,
)
from router.ports import Store
from router.storage import schema
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore

IDS = st.sampled_from(["d1", "d2", "d3"])
SCORES = st.sampled_from([0.0, 0.25, 1.0])
KEYS = st.sampled_from([None, None, "k1", "k2"])

outcomes = st.builds(
    Outcome,
    decision_id=IDS,
    status=st.sampled_from(Status),
    at=st.just(1.0),
    model=st.sampled_from([None, "z/other"]),
    cost_usd=SCORES,
    cost_source=st.sampled_from([None, *CostSource]),
)
feedback = st.builds(
    Feedback,
    id=st.sampled_from([f"f{i}" for i in range(8)]),
    decision_id=IDS,
    judge=st.sampled_from(["human", "llm"]),
    metric=st.sampled_from(["overall", "style"]),
    score=SCORES,
    at=st.just(2.0),
    idempotency_key=KEYS,
    weight=st.sampled_from([1.0, 0.5]),
)
changes = st.builds(FeedbackChange, id=st.sampled_from([f"f{i}" for i in range(8)]), score=st.none() | SCORES, at=st.just(3.0))
costs = st.builds(CostChange, decision_id=IDS, cost_usd=st.none() | SCORES, at=st.just(4.0))
histories = st.lists(st.lists(IDS | outcomes | costs | feedback | changes, min_size=1, max_size=8), min_size=1, max_size=6)


def play(store: Store, history: Sequence[Sequence[Write]]) -> list[object]:
    told: list[object] = []
    for result in itertools.chain.from_iterable(store.commit(group) for group in history):
        told.append(result if isinstance(result, Committed) else (type(result), result.field, result.message, result.remedy))
    return told


def unfolds(events: Sequence[LogEvent]) -> None:
    scores: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    models: dict[str, str] = {}
    costs: dict[int, float | None] = {}
    for e in events:
        if isinstance(e, OutcomeEvent):
            costs[e.decision_seq] = e.outcome.cost_usd
        if isinstance(e, CostEvent):
            assert e.before_usd == costs[e.decision_seq] != e.after_usd
            costs[e.decision_seq] = e.after_usd
        if isinstance(e, FeedbackEvent):
            assert e.before == scores.get(e.decision_id, {})
            assert {k: v for k, v in e.before.items() if k != (e.judge, e.metric)} == {
                k: v for k, v in e.after.items() if k != (e.judge, e.metric)
            }
            assert e.before != e.after
            assert models.setdefault(e.decision_id, e.model) == e.model
            scores[e.decision_id] = e.after


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(histories)
def test_stores_agree_on_any_history_and_corrections_unfold(make, history):
    groups = [[make.decision(item) if isinstance(item, str) else item for item in group] for group in history]
    memory = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'log.db'}"
        schema.upgrade(url)
        sql = SqlStore(url, "normal")
        try:
            assert play(sql, groups) == play(memory, groups)
            events = sql.read_log(0, 1000)
            assert events == memory.read_log(0, 1000)
            assert sql.decisions() == memory.decisions()
            assert sql.counts() == memory.counts()
        finally:
            sql.close()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    unfolds(events)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(histories)
def test_the_server_tells_the_same_story(make, postgres_url, history):
    groups = [[make.decision(item) if isinstance(item, str) else item for item in group] for group in history]
    memory, server = MemoryStore(), SqlStore(postgres_url, "normal")
    try:
        assert play(server, groups) == play(memory, groups)
        assert server.read_log(0, 1000) == memory.read_log(0, 1000)
        assert server.decisions() == memory.decisions()
        assert server.counts() == memory.counts()
        with server._writer.begin() as connection:
            connection.exec_driver_sql("TRUNCATE decisions, attempts, outcomes, cost_changes, feedback; UPDATE log_head SET seq = 0")
    finally:
        server.close()


@pytest.fixture
def statements():
    """Every statement that any engine executes."""
    heard: list[str] = []

    def listen(_connection, _cursor, statement, *_rest):
        heard.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    yield heard
    event.remove(Engine, "before_cursor_execute", listen)


def test_the_log_is_only_added_to(sql_store, make, statements):
    sql_store.commit([make.decision("d1"), make.outcome("d1"), make.feedback("f1", idempotency_key="k")])
    sql_store.commit([make.decision("d1"), make.outcome("d1"), make.feedback("f2"), make.change("f1", 0.5)])
    sql_store.commit([make.change("f1", None), make.feedback("f3", score=0.1), make.outcome("d1", cost_usd=9.0)])
    changing = [s for s in statements if s.lstrip().upper().startswith(("UPDATE", "DELETE", "REPLACE", "INSERT OR", "DROP", "ALTER"))]
    assert any(s.startswith("INSERT") for s in statements)
    assert changing == []


def test_the_number_of_queries_does_not_grow_with_the_group(sql_store, make, statements):
    def queries(n: int, tag: str) -> int:
        sql_store.commit([make.decision(f"{tag}{i}") for i in range(n)])
        statements.clear()
        sql_store.commit(
            [make.decision(f"{tag}-new{i}") for i in range(n)]
            + [make.outcome(f"{tag}{i}") for i in range(n)]
            + [make.feedback(f"{tag}f{i}", f"{tag}{i}", idempotency_key=f"{tag}k{i}") for i in range(n)]
        )
        return len(statements)

    assert queries(200, "b") == queries(2, "a") <= 14
