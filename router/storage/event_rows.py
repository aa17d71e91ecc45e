"""Events of the log, from the rows of its tables: one table after the other, to be put in order by who reads them."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Select, bindparam, select

from router.domain.events import ArrivalEvent, AttemptEvent, DecisionEvent, Evidence, FeedbackEvent, OutcomeEvent
from router.domain.set_aside import Omitted, RecordUnreadable
from router.storage import codec
from router.storage.cost_rows import COST_EVENTS, read_cost_event
from router.storage.regime_rows import REGIME_EVENTS, read_regime_event
from router.storage.revisions import feedback_event
from router.storage.tables import arrivals, attempts, decisions, feedback, outcomes

E = TypeVar("E")

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")

DECISION_EVENTS = select(decisions).where(decisions.c.seq >= _first, decisions.c.seq < _end)
ARRIVAL_EVENTS = select(arrivals).where(arrivals.c.seq >= _first, arrivals.c.seq < _end)
_folded = (decisions.c.id.label("decision_id"), decisions.c.task_type, decisions.c.features_schema, decisions.c.features)
ATTEMPT_EVENTS = (
    select(attempts, decisions.c.id.label("decision_id"))
    .join_from(attempts, decisions, attempts.c.decision_seq == decisions.c.seq)
    .where(attempts.c.seq >= _first, attempts.c.seq < _end)
)
OUTCOME_EVENTS = (
    select(outcomes, *_folded, decisions.c.model.label("decided_model"))
    .join_from(outcomes, decisions, outcomes.c.decision_seq == decisions.c.seq)
    .where(outcomes.c.seq >= _first, outcomes.c.seq < _end)
)
FEEDBACK_EVENTS = (
    select(feedback, *_folded)
    .join_from(feedback, decisions, feedback.c.decision_seq == decisions.c.seq)
    .where(feedback.c.seq >= _first, feedback.c.seq < _end)
)


def read_decisions(connection: Connection, first: int, end: int) -> Iterator[DecisionEvent]:
    """The decisions from a position up to another, which is not included."""
    for row in connection.execute(DECISION_EVENTS, {"first": first, "end": end}):
        yield DecisionEvent(row.seq, codec.read_decision(row))


def read_evidence(connection: Connection, first: int, end: int, omitted: Omitted) -> Iterator[Evidence]:
    """All else from a position up to another, which is not included, but for what the fold leaves out.

    Raises ``RecordUnreadable``.
    """
    span = {"first": first, "end": end}

    def each(query: Select[Any], kind: str, read: Callable[[Any], E]) -> Iterator[E]:
        for row in connection.execute(query, span):
            if omitted and omitted(row.seq, row.decision_seq):
                continue
            try:
                yield read(row)
            except Exception as exc:
                raise RecordUnreadable(row.seq, row.decision_seq, kind) from exc

    yield from each(ATTEMPT_EVENTS, "attempt", _attempt_event)
    yield from each(OUTCOME_EVENTS, "outcome", _outcome_event)
    yield from each(COST_EVENTS, "cost_change", read_cost_event)
    for row in connection.execute(ARRIVAL_EVENTS, span):
        yield ArrivalEvent(row.seq, row.model_id)
    yield from each(FEEDBACK_EVENTS, "feedback", _feedback_event)
    for row in connection.execute(REGIME_EVENTS, span):
        yield read_regime_event(row)


def _attempt_event(row: Any) -> AttemptEvent:
    return AttemptEvent(row.seq, row.decision_seq, codec.read_attempt(row, row.decision_id))


def _feedback_event(row: Any) -> FeedbackEvent:
    return feedback_event(codec.read_revision(row), row.decision_id, row.task_type, row.features_schema, row.features)


def _outcome_event(row: Any) -> OutcomeEvent:
    return OutcomeEvent(
        seq=row.seq,
        decision_seq=row.decision_seq,
        task_type=row.task_type,
        model=row.model or row.decided_model,
        features_schema=row.features_schema,
        features=row.features,
        outcome=codec.read_outcome(row, row.decision_id),
    )
