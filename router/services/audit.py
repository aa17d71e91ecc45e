"""Recomputes a logged decision from the log, bit for bit, and says what it was taken from and what would have changed it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.choice import Restraint
from learning.errors import IncompatibleState
from learning.posterior import Posterior
from learning.propensities import SCALE
from router.domain.calling import Calling
from router.domain.decisions import Alternative, Decision
from router.domain.events import DecisionRecord, Regime
from router.domain.explanation import Weighed
from router.domain.recall import calling_of, money_of, task_of, unavailable_of
from router.domain.refold import Refold
from router.domain.tasks import Task
from router.errors import DecisionNotFound, RouterError
from router.ports import Store

_SAME = ("task_type", "features", "eligible", "propensities", "model", "propensity", "confidence", "policy", "forced", "fallback")
"""What a recomputed decision must share with the logged one to the last bit."""
_NOT_DRAWN = frozenset({"named", "episode", "fallback", "holdback", "budget"})
"""Forced decisions that follow from what the log holds all the same."""


class Deciding(Protocol):
    """Decides as the service would have."""

    def decide(self, task: Task, calling: Calling | None = None) -> Decision: ...

    def weigh(self, task: Task, calling: Calling) -> tuple[Weighed, ...]: ...


class DecideAgain(Protocol):
    """Makes what decided under a regime; None where the regime was logged by a release that decided otherwise."""

    def __call__(
        self,
        regime: Regime,
        unavailable: Mapping[str, str],
        posterior: Callable[[], Posterior],
        *,
        clock: Callable[[], float],
        name: Callable[[str], str],
        draw: Callable[[str], int],
        money: Callable[[], float],
        spent: bool,
        allowed: Restraint | None,
    ) -> Deciding | None: ...


@dataclass(frozen=True, slots=True)
class Audited:
    """One model that was eligible."""

    model: str
    weighed: Weighed
    """What was expected of it then."""
    propensity: float
    draws: tuple[int, int] | None
    """The 24-bit draws, first included and last not, that choose it; None where nothing was drawn."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A decision, taken once more from the log."""

    decision_id: str
    exact: bool | None
    """Whether it came out the same to the last bit; None where it was not recomputed."""
    differences: tuple[str, ...]
    """Fields that came out otherwise."""
    why_not: str | None
    """Why it was not recomputed."""
    model: str | None
    """As recomputed, as are those below."""
    propensity: float | None
    draw: int | None
    """24 bits, from the log."""
    policy_seq: int
    """Log position of the learned state."""
    state_digest: str | None
    """Of the learned state there: equal on every service that folds the same log."""
    models: tuple[Audited, ...]
    alternatives: tuple[Alternative, ...]
    """The next ones, each with what would have made it the first."""


class AuditService:
    """Folds the log again. Synchronous and busy: call it in a thread. Recomputing decisions in the order of the log is cheapest."""

    def __init__(self, store: Store, decide_again: DecideAgain) -> None:
        self._store = store
        self._decide_again = decide_again
        self._refolds: dict[tuple[float, tuple[str, ...]], Refold] = {}
        self._lock = threading.Lock()

    def audit(self, decision_id: str) -> Audit:
        """Recompute one decision.

        Raises ``DecisionNotFound``, ``StorageUnavailable``.
        """
        record = self._store.decision(decision_id)
        if record is None:
            raise DecisionNotFound("no decision has this id", field="decision_id", remedy="send the decision_id of a routing answer")
        return self.recompute(record)

    def recompute(self, record: DecisionRecord, most: int | None = None) -> Audit:
        """Recompute a decision that was read already, where that folds at most ``most`` log records. Raises ``StorageUnavailable``."""
        decision = record.decision
        if decision.forced and decision.policy not in _NOT_DRAWN:
            return _unknown(decision, f"no policy drew it: it was set by {decision.policy}")
        regime = self._store.regime(decision.catalog_version, decision.policy_version)
        if regime is None:
            return _unknown(decision, "the log does not hold the catalogue and the settings it was taken by")
        folded = regime.policy["half_life_records"], tuple(regime.policy["trusted_judges"])
        with self._lock:
            refold = self._refolds.setdefault(folded, Refold(self._store, *folded))
            if most is not None and (ahead := refold.ahead(decision.policy_seq)) > most:
                return _unknown(decision, f"{ahead:,} log records lie before it; 'pointsman audit {decision.id}' folds them all")
            return self._again(decision, regime, refold)

    def _again(self, decision: Decision, regime: Regime, refold: Refold) -> Audit:
        learner = refold.at(decision.policy_seq)
        deciding = self._decide_again(
            regime,
            unavailable_of(decision),
            learner.posterior,
            clock=lambda: decision.at,
            name=lambda _prefix: decision.id,
            draw=lambda _id: int(decision.request["draw"]),
            money=lambda: money_of(decision),
            spent=decision.policy == "budget",
            allowed=None if "allowed" not in decision.request else Restraint(*decision.request["allowed"]),
        )
        if deciding is None:
            return _unknown(decision, "another release took it, with other settings")
        task, calling = task_of(decision), calling_of(decision)
        try:
            made = deciding.decide(task, calling)
            weighed = {one.model: one for one in deciding.weigh(task, calling)}
        except IncompatibleState:
            return _unknown(decision, "its features were encoded by another release")
        except RouterError as exc:
            return _unknown(decision, f"it cannot be taken again: {exc.message}")
        differences = [name for name in _SAME if getattr(made, name) != getattr(decision, name)]
        if [(e.model, e.code) for e in made.excluded] != [(e.model, e.code) for e in decision.excluded]:
            differences.append("excluded")
        return Audit(
            decision_id=decision.id,
            exact=not differences,
            differences=tuple(differences),
            why_not=None,
            model=made.model,
            propensity=made.propensity,
            draw=None if decision.forced else int(decision.request["draw"]),
            policy_seq=decision.policy_seq,
            state_digest=learner.digest(),
            models=_audited(made, weighed),
            alternatives=made.alternatives,
        )


def _audited(made: Decision, weighed: Mapping[str, Weighed]) -> tuple[Audited, ...]:
    ends = np.cumsum([round(p * SCALE) for p in made.propensities]).tolist()
    starts = [0, *ends[:-1]]
    return tuple(
        Audited(model, weighed[model], p, None if made.forced else (start, end))
        for model, p, start, end in zip(made.eligible, made.propensities, starts, ends, strict=True)
        if model in weighed
    )


def _unknown(decision: Decision, why: str) -> Audit:
    return Audit(decision.id, None, (), why, None, None, None, decision.policy_seq, None, (), ())
