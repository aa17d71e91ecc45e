"""What is known of the decisions that a group of writes refers to, from their rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from router.domain.decisions import Decision
from router.domain.events import Attempt, CostChange, Feedback, FeedbackChange, Outcome, Write
from router.storage import codec
from router.storage.cost_rows import COSTS_OF, read_cost
from router.storage.keyed import Keyed, matching
from router.storage.ledger import Known, View
from router.storage.record_rows import FEEDBACK_OF, OUTCOMES_OF
from router.storage.tables import attempts, decisions, feedback

_brief = select(decisions.c.id, decisions.c.seq, decisions.c.model)
DECISIONS_BY_ID = Keyed(_brief, decisions.c.id)
DECISIONS_BY_SEQ = Keyed(_brief, decisions.c.seq)
WHOLE_DECISIONS_BY_ID = Keyed(select(decisions), decisions.c.id)
ATTEMPT_NUMBERS = Keyed(select(attempts.c.decision_seq, attempts.c.number, attempts.c.seq), attempts.c.decision_seq)
FEEDBACK_BY_ID = Keyed(select(feedback.c.decision_seq).where(feedback.c.revision == 1), feedback.c.feedback_id)
FEEDBACK_BY_KEY = Keyed(select(feedback), feedback.c.idempotency_key)


def read_view(connection: Connection, writes: Sequence[Write]) -> View:
    """Read what the group refers to: a fixed number of queries, however large the group."""
    made, named, feedback_ids, keys = _references(writes)
    view = View()
    by_seq: dict[int, Known] = {}

    def know(row: Any, decision: Decision | None = None) -> None:
        if row.id not in view.decisions:
            by_seq[row.seq] = view.decisions[row.id] = Known(row.seq, row.id, row.model, decision)

    for row in matching(connection, WHOLE_DECISIONS_BY_ID, made):
        know(row, codec.read_decision(row))
    for row in matching(connection, DECISIONS_BY_ID, named):
        know(row)
    keyed = [codec.read_revision(row) for row in matching(connection, FEEDBACK_BY_KEY, keys)]
    pointed = {row.decision_seq for row in matching(connection, FEEDBACK_BY_ID, feedback_ids)} | {r.decision_seq for r in keyed}
    for row in matching(connection, DECISIONS_BY_SEQ, sorted(pointed - by_seq.keys())):
        know(row)
    if not (named or pointed):
        return view
    for row in matching(connection, OUTCOMES_OF, list(by_seq)):
        known = by_seq[row.decision_seq]
        known.outcome = (row.seq, codec.read_outcome(row, known.id))
    if any(isinstance(write, CostChange) for write in writes):
        for row in matching(connection, COSTS_OF, list(by_seq)):
            by_seq[row.decision_seq].recost = read_cost(row)
    if any(isinstance(write, Attempt) for write in writes):
        for row in matching(connection, ATTEMPT_NUMBERS, list(by_seq)):
            by_seq[row.decision_seq].attempts[row.number] = row.seq
    if not (feedback_ids or keys):
        return view  # what is known of scores concerns further scores only
    for row in matching(connection, FEEDBACK_OF, list(by_seq)):
        revision, known = codec.read_revision(row), by_seq[row.decision_seq]
        known.scores[(revision.judge, revision.metric)] = revision
        view.feedback[revision.feedback_id] = (known, (revision.judge, revision.metric))
    for revision in keyed:
        if revision.idempotency_key is not None:
            view.keys[revision.source, revision.idempotency_key] = (by_seq[revision.decision_seq], revision)
    return view


def _references(writes: Sequence[Write]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Ids of decisions written, of decisions referred to, of feedback; idempotency keys. Each once."""
    made: dict[str, None] = {}
    named: dict[str, None] = {}
    feedback_ids: dict[str, None] = {}
    keys: dict[str, None] = {}
    for write in writes:
        match write:
            case Decision(id=id):
                made[id] = None
            case Attempt(decision_id=decision_id) | Outcome(decision_id=decision_id) | CostChange(decision_id=decision_id):
                named[decision_id] = None
            case Feedback(id=id, decision_id=decision_id, idempotency_key=key):
                named[decision_id] = None
                feedback_ids[id] = None
                if key is not None:
                    keys[key] = None
            case FeedbackChange(id=id):
                feedback_ids[id] = None
    return list(made), list(named), list(feedback_ids), list(keys)
