"""Decisions with all that is logged of them, from their rows."""

from typing import Any

from sqlalchemy import Connection, Select, select

from router.domain.events import Attempt, DecisionRecord, Outcome
from router.domain.prices import recosted
from router.storage import codec
from router.storage.cost_rows import COSTS_OF
from router.storage.keyed import Keyed, matching
from router.storage.revisions import feedback_entry
from router.storage.tables import attempts, feedback, outcomes

OUTCOMES_OF = Keyed(select(outcomes), outcomes.c.decision_seq)
ATTEMPTS_OF = Keyed(select(attempts).order_by(attempts.c.seq), attempts.c.decision_seq)
FEEDBACK_OF = Keyed(select(feedback).order_by(feedback.c.seq), feedback.c.decision_seq)


def read_records(connection: Connection, query: Select[Any]) -> list[DecisionRecord]:
    """The decisions that a query of their table selects, in its order."""
    rows = connection.execute(query).all()
    seqs = [row.seq for row in rows]
    ended = {row.decision_seq: row for row in matching(connection, OUTCOMES_OF, seqs)}
    costs = {row.decision_seq: row.cost_usd for row in matching(connection, COSTS_OF, seqs)}  # the latest comes last
    tried: dict[int, list[Attempt]] = {}
    ids = {row.seq: row.id for row in rows}
    for row in matching(connection, ATTEMPTS_OF, seqs):
        tried.setdefault(row.decision_seq, []).append(codec.read_attempt(row, ids[row.decision_seq]))
    scored: dict[int, list[dict[str, Any]]] = {}
    for row in matching(connection, FEEDBACK_OF, seqs):
        scored.setdefault(row.decision_seq, []).append(feedback_entry(codec.read_revision(row)))
    return [
        DecisionRecord(
            seq=row.seq,
            decision=codec.read_decision(row),
            outcome=_ended(ended[row.seq], row.id, costs) if row.seq in ended else None,
            feedback=tuple(scored.get(row.seq, ())),
            attempts=tuple(tried.get(row.seq, ())),
        )
        for row in rows
    ]


def _ended(row: Any, decision_id: str, costs: dict[int, float | None]) -> Outcome:
    outcome = codec.read_outcome(row, decision_id)
    return recosted(outcome, costs[row.decision_seq]) if row.decision_seq in costs else outcome
