"""What the holdback experiment reads of decisions, from their rows: without the columns that make most of a decision's bytes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, select

from router.domain.events import Attempt, Status
from router.domain.lift import ARM, Trial
from router.storage import codec
from router.storage.cost_rows import COSTS_OF
from router.storage.keyed import Keyed, matching
from router.storage.record_rows import ATTEMPTS_OF
from router.storage.tables import decisions, feedback, outcomes

TRIALS: Select[Any] = select(decisions.c.seq, decisions.c.id, decisions.c.at, decisions.c.episode_id, decisions.c.request)
_ENDS_OF = Keyed(select(outcomes.c.decision_seq, outcomes.c.status, outcomes.c.cost_usd, outcomes.c.latency_s), outcomes.c.decision_seq)
_SCORES_OF = Keyed(
    select(feedback.c.decision_seq, feedback.c.judge, feedback.c.metric, feedback.c.score, feedback.c.weight, feedback.c.sampling).order_by(
        feedback.c.seq
    ),
    feedback.c.decision_seq,
)
_NAMED = f'"{ARM}":'
"""In the text of a request that takes part, among others."""
_STATUS = {status.value: status for status in Status}
_End = tuple[Status | None, float | None, float | None]
_UNKNOWN: _End = None, None, None


def read_trials(connection: Connection, query: Select[Any]) -> list[Trial]:
    """The trials that a query for the columns of ``TRIALS`` selects, in its order."""
    rows = [tuple(row) for row in connection.execute(query).all()]  # plain ones: their columns are read by the hundred thousand
    asked = {row[0]: request for row in rows if _NAMED in row[4] and ARM in (request := codec.read_request(row[4]))}
    seqs, ids = list(asked), {row[0]: row[1] for row in rows}
    costs = {row.decision_seq: row.cost_usd for row in matching(connection, COSTS_OF, seqs)}  # the latest comes last
    ended: dict[int, _End] = {
        seq: (_STATUS[status], costs.get(seq, cost_usd), latency_s)
        for seq, status, cost_usd, latency_s in matching(connection, _ENDS_OF, seqs)
    }
    tried: dict[int, list[Attempt]] = {}
    for row in matching(connection, ATTEMPTS_OF, seqs):
        tried.setdefault(row.decision_seq, []).append(codec.read_attempt(row, ids[row.decision_seq]))
    scored: dict[int, list[Mapping[str, Any]]] = {}
    for seq, judge, metric, score, weight, sampling in matching(connection, _SCORES_OF, seqs):
        entry = {"judge": judge, "metric": metric, "score": score, "weight": weight, "sampling": sampling}
        scored.setdefault(seq, []).append(entry)
    return [
        Trial(seq, decision_id, at, episode_id, asked.get(seq, {}), *ended.get(seq, _UNKNOWN), tuple(scored.get(seq, ())), _all(tried, seq))
        for seq, decision_id, at, episode_id, _ in rows
    ]


def _all(tried: Mapping[int, list[Attempt]], seq: int) -> tuple[Attempt, ...]:
    return tuple(tried.get(seq, ()))
