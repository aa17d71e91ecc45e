"""Corrections of costs, as rows: what a call was thought to cost before, and after."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select

from router.domain.events import CostEvent, Status
from router.storage.keyed import Keyed
from router.storage.tables import cost_changes, decisions, outcomes

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")

COSTS_OF = Keyed(select(cost_changes).order_by(cost_changes.c.seq), cost_changes.c.decision_seq)
COST_EVENTS = (
    select(
        cost_changes,
        outcomes.c.status,
        outcomes.c.model.label("served"),
        decisions.c.id.label("decision_id"),
        decisions.c.model,
        decisions.c.task_type,
        decisions.c.features_schema,
        decisions.c.features,
    )
    .join_from(cost_changes, decisions, cost_changes.c.decision_seq == decisions.c.seq)
    .join(outcomes, outcomes.c.decision_seq == cost_changes.c.decision_seq)
    .where(cost_changes.c.seq >= _first, cost_changes.c.seq < _end)
)


@dataclass(frozen=True, slots=True)
class CostRevision:
    """One row: the cost of a decision's outcome as it was corrected."""

    seq: int
    decision_seq: int
    revision: int
    at: float
    before_usd: float | None
    cost_usd: float | None


def cost_row(revision: CostRevision) -> dict[str, Any]:
    """The row of a correction."""
    return {
        "seq": revision.seq,
        "decision_seq": revision.decision_seq,
        "revision": revision.revision,
        "at": revision.at,
        "before_usd": revision.before_usd,
        "cost_usd": revision.cost_usd,
    }


def read_cost(row: Row[Any]) -> CostRevision:
    """A correction from its row."""
    return CostRevision(row.seq, row.decision_seq, row.revision, row.at, row.before_usd, row.cost_usd)


def read_cost_event(row: Row[Any]) -> CostEvent:
    """What the fold reads of a correction."""
    return CostEvent(
        seq=row.seq,
        decision_seq=row.decision_seq,
        decision_id=row.decision_id,
        task_type=row.task_type,
        model=row.served or row.model,
        features_schema=row.features_schema,
        features=row.features,
        status=Status(row.status),
        before_usd=row.before_usd,
        after_usd=row.cost_usd,
        at=row.at,
    )
