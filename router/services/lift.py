"""Reads the holdback experiment from the log."""

import math
from collections.abc import Sequence
from functools import lru_cache

from router.domain.evaluation import worth
from router.domain.holdback import BASELINE
from router.domain.lift import ARM, Lift, Trial, Unit, report
from router.domain.recall import ended
from router.domain.tasks import Weights
from router.ports import Store

_PAGE = 1_000


class LiftService:
    """What routing gains over the held-back baseline. Synchronous: call it in a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lift(self, *, last: int = 100_000, since: float | None = None, task_type: str | None = None) -> Lift:
        """From the last decisions of the log. Raises ``StorageUnavailable``."""
        units: dict[str, list[Trial]] = {}
        before: int | None = None
        left = last
        while left > 0:
            page = self._store.trials(before_seq=before, limit=min(_PAGE, left), task_type=task_type)
            for trial in page:
                if trial.request and (since is None or trial.at >= since):
                    units.setdefault(trial.episode_id or trial.decision_id, []).append(trial)
            left -= len(page)
            if len(page) < _PAGE or (since is not None and page[-1].at < since):
                break
            before = page[-1].seq
        made = [_unit(trials) for trials in units.values()]
        return report(sorted(made, key=lambda unit: unit.at))


def _unit(trials: list[Trial]) -> Unit:
    first = trials[-1]
    outcomes = [_outcome(trial) for trial in trials]
    means = outcomes[0] if len(outcomes) == 1 else [_mean(column) for column in zip(*outcomes, strict=True)]
    return Unit(first.at, first.request[ARM] == BASELINE, float(first.request["held_back"]), len(trials), means)


def _mean(values: Sequence[float]) -> float:
    """Of what is known; NaN where nothing is."""
    known = [value for value in values if value == value]  # NaN is not itself
    return math.fsum(known) / len(known) if known else math.nan


def _outcome(trial: Trial) -> list[float]:
    """Quality, cost, latency and, where all that the request weighs is known, utility."""
    result = ended(trial.status, trial.cost_usd, trial.latency_s, trial.feedback, trial.attempts)
    values = [math.nan if v is None else v for v in (result.quality, result.cost_usd, result.latency_s)]
    weights = _worth(tuple(trial.request["weights"]), tuple(trial.request["references"]))
    return [*values, math.fsum(w * v for w, v in zip(weights, values, strict=True) if w)]


@lru_cache(1_000)
def _worth(weights: tuple[float, ...], references: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(worth(Weights(*weights), references).tolist())
