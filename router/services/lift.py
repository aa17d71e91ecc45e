"""Reads the holdback experiment from the log."""

import math

import numpy as np

from router.domain.evaluation import worth
from router.domain.events import DecisionRecord
from router.domain.holdback import BASELINE
from router.domain.lift import Lift, Unit, report
from router.domain.recall import result_of, weights_of
from router.ports import Store

_PAGE = 1_000


class LiftService:
    """What routing gains over the held-back baseline. Synchronous: call it in a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lift(self, *, last: int = 100_000, since: float | None = None, task_type: str | None = None) -> Lift:
        """From the last decisions of the log. Raises ``StorageUnavailable``."""
        units: dict[str, list[DecisionRecord]] = {}
        before: int | None = None
        left = last
        while left > 0:
            page = self._store.decisions(before_seq=before, limit=min(_PAGE, left), task_type=task_type)
            for record in page:
                if "arm" in record.decision.request and (since is None or record.decision.at >= since):
                    units.setdefault(record.decision.episode_id or record.decision.id, []).append(record)
            left -= len(page)
            if len(page) < _PAGE or (since is not None and page[-1].decision.at < since):
                break
            before = page[-1].seq
        made = [_unit(records) for records in units.values()]
        return report(sorted(made, key=lambda unit: unit.at))


def _unit(records: list[DecisionRecord]) -> Unit:
    first = records[-1].decision
    outcomes = np.array([_outcome(record) for record in records])
    known = ~np.isnan(outcomes)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, outcomes, 0.0).sum(axis=0) / known.sum(axis=0)
    return Unit(first.at, first.request["arm"] == BASELINE, float(first.request["held_back"]), len(records), mean)


def _outcome(record: DecisionRecord) -> list[float]:
    """Quality, cost, latency and, where all that the request weighs is known, utility."""
    result = result_of(record)
    values = [math.nan if v is None else v for v in (result.quality, result.cost_usd, result.latency_s)]
    weights = worth(weights_of(record.decision), record.decision.request["references"])
    return [*values, math.fsum(w * v for w, v in zip(weights.tolist(), values, strict=True) if w)]
