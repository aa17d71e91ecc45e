"""Off-policy evaluation and what-if: what a candidate would have done with the decisions of the log, and what that was worth."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from learning.arrays import FloatArray
from learning.choice import Estimates, Preference, Restraint, Safeguard, beliefs, choose, tighter
from learning.errors import IncompatibleState
from learning.policies import Policy, make
from learning.posterior import Posterior
from router.domain.calling import Calling
from router.domain.candidates import Candidate
from router.domain.catalog import Catalog
from router.domain.decisions import Decision
from router.domain.eligibility import usd
from router.domain.evaluation import Comparison, Exploration, Look, compare, expectations, loss, worth
from router.domain.events import DecisionRecord, Regime
from router.domain.models import Price
from router.domain.recall import Scope, calling_of, money_of, result_of, task_of, unavailable_of, weights_of
from router.domain.refold import Refold
from router.domain.tasks import Task
from router.errors import StorageUnavailable
from router.ports import Store

_FARTHEST = 10
"""Times as many decisions are looked at as are wanted, where many were not drawn."""
_PAGE = 500
_REMEMBERED = 5_000
"""Decisions whose expectations are kept for the next question: a few kilobytes each."""

_OWN_ALLOWANCE = (
    "the day's allowance for exploring is taken as the log's own decisions left it: another policy would have used it up sooner or later"
)

Progress = Callable[[int, int], None]


class Considered(Protocol):
    """What a decision would be drawn from."""

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def propensities(self) -> FloatArray: ...

    @property
    def estimates(self) -> Estimates: ...


class Deciding(Protocol):
    """Decides as the service would have."""

    def consider(self, task: Task, calling: Calling) -> Considered | None: ...


class Rebuild(Protocol):
    """Makes what decided under a regime; None where the regime was logged by a release that decided otherwise."""

    def __call__(
        self, regime: Regime, unavailable: Mapping[str, str], posterior: Callable[[], Posterior], *, money: Callable[[], float]
    ) -> Deciding | None: ...


class EvaluationService:
    """Reads the log and recomputes what was believed at each decision. Synchronous and busy: call it in a thread or another process."""

    def __init__(self, store: Store, rebuild: Rebuild, catalog: Callable[[], Catalog]) -> None:
        self._store = store
        self._rebuild = rebuild
        self._catalog = catalog
        self._considered: dict[str, Considered | None] = {}
        self._lock = threading.Lock()
        """One question at a time: they share what is remembered, and the processor."""

    def evaluate(self, candidate: Candidate, scope: Scope | None = None, tell: Progress | None = None) -> Comparison:
        """What the decisions of the log would have been worth, had the candidate drawn them.

        Raises ``TaskInvalid``, ``ModelNotFound``, ``StorageUnavailable``.
        """
        return self._compare(candidate, scope or Scope(), tell, ahead=False)

    def what_if(self, candidate: Candidate, scope: Scope | None = None, tell: Progress | None = None) -> Comparison:
        """What as many decisions to come would show under the candidate, if they are like those of the log.

        Raises ``TaskInvalid``, ``ModelNotFound``, ``StorageUnavailable``.
        """
        return self._compare(candidate, scope or Scope(), tell, ahead=True)

    def exploration(self, scope: Scope | None = None, tell: Progress | None = None) -> Exploration:
        """What learning cost on the decisions of the log, in utility, quality and dollars.

        Raises ``StorageUnavailable``.
        """
        drawn, _ = self._records(scope or Scope())
        drawn.sort(key=lambda record: record.decision.policy_seq)
        with self._lock:
            return self._explored(drawn, tell)

    def _explored(self, drawn: list[DecisionRecord], tell: Progress | None) -> Exploration:
        then = _Then(self._store, self._rebuild, Candidate(policy="greedy"), self._remembered(drawn), limited=False)
        pairs: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        seen: list[DecisionRecord] = []
        for i, record in enumerate(drawn):
            if (look := then.look(record)) is not None:
                pairs.append((look.now[look.drawn], look.now[int(np.argmax(look.target))], look.weights))
                seen.append(record)
            if tell is not None:
                tell(i + 1, len(drawn))
        if not pairs:
            return Exploration(0, 0.0, None, None)
        chosen, best, weights = (np.array(column) for column in zip(*pairs, strict=True))
        today = [pair for record in seen if (pair := then.today(record)) is not None]
        hindsight = loss(*(np.array(column) for column in zip(*today, strict=True))) if today else None
        explored = float(((best - chosen) * weights != 0).any(axis=1).mean())
        return Exploration(len(pairs), explored, loss(chosen, best, weights), hindsight)

    def _compare(self, candidate: Candidate, scope: Scope, tell: Progress | None, *, ahead: bool) -> Comparison:
        candidate.checked(self._catalog())
        drawn, not_drawn = self._records(scope)
        with self._lock:
            then = _Then(self._store, self._rebuild, candidate, self._remembered(drawn))
            looks = list(_looks(then, drawn, tell))
        lost = len(drawn) - len(looks)
        made = compare(looks, candidate, not_drawn=not_drawn, not_recomputed=lost, ahead=ahead)
        doubts = (*made.doubts, _OWN_ALLOWANCE) if then.by_allowance else made.doubts
        return replace(made, candidate="; ".join((made.candidate, *then.limits)), doubts=doubts)

    def _records(self, scope: Scope) -> tuple[list[DecisionRecord], int]:
        """The last decisions that a policy drew, oldest first, and how many lie between them that none did, e.g. imported ones."""
        found: list[DecisionRecord] = []
        read, before = 0, None
        while len(found) < scope.last and read < _FARTHEST * scope.last:
            page = self._store.decisions(before_seq=before, limit=_PAGE, task_type=scope.task_type)
            for record in page:
                if scope.since is not None and record.decision.at < scope.since:
                    continue
                read += 1
                if not record.decision.forced:
                    found.append(record)
                    if len(found) == scope.last:
                        break
            if len(page) < _PAGE or (scope.since is not None and page[-1].decision.at < scope.since):
                break
            before = page[-1].seq
        return found[::-1], read - len(found)

    def _remembered(self, records: list[DecisionRecord]) -> dict[str, Considered | None]:
        """What was expected at the decisions of the last question: the next one is mostly about the same."""
        ids = {record.decision.id for record in records}
        known = {key: value for key, value in self._considered.items() if key in ids}
        self._considered = known if len(ids) <= _REMEMBERED else {}
        return self._considered if len(ids) <= _REMEMBERED else {}


def _looks(then: "_Then", records: list[DecisionRecord], tell: Progress | None) -> Iterator[Look]:
    records.sort(key=lambda record: record.decision.policy_seq)
    for i, record in enumerate(records):
        try:
            look = then.look(record)
        except IncompatibleState:
            continue  # encoded under an older feature schema
        if look is not None:
            yield look
        if tell is not None:
            tell(i + 1, len(records))


class _Then:
    """Recomputes decisions, under what was and under what the candidate changes, in order of the learned state they were taken from."""

    def __init__(
        self, store: Store, rebuild: Rebuild, candidate: Candidate, considered: dict[str, Considered | None], *, limited: bool = True
    ) -> None:
        """``limited``: the candidate draws under the safe model and the limits on exploring that held at each decision."""
        self._store = store
        self._limited = limited
        self.limits: dict[str, None] = {}
        """Under what the candidate has drawn so far, in words."""
        self.by_allowance = False
        """Whether a day's allowance was among it."""
        self._considered = considered
        self._rebuild = rebuild
        self._candidate = candidate
        self._regimes: dict[tuple[str, str], Regime | None] = {}
        self._refolds: dict[tuple[float, tuple[str, ...]], Refold] = {}
        self._deciding: dict[tuple[object, ...], Deciding | None] = {}
        self._policies: dict[tuple[object, ...], Policy] = {}
        self._posterior: Posterior | None = None
        self._money = 0.0
        """What a budget made a dollar cost, as the decision at hand logged it: a candidate would have had to keep the same budget."""
        self._last = store.last_seq()

    def look(self, record: DecisionRecord) -> Look | None:
        """None where the log does not say what the decision was taken by."""
        decision, candidate = record.decision, self._candidate
        regime = self._regime(decision)
        if regime is None:
            return None
        self._money = money_of(decision)
        task, calling = task_of(decision), calling_of(decision)
        elsewhere = bool(candidate.prices or candidate.without)
        if elsewhere or decision.id not in self._considered:
            self._posterior = self._refold(regime).posterior(decision.policy_seq, intervals="min_quality" in decision.request)
        if decision.id not in self._considered:
            decider = self._decider(regime, decision, changed=False)
            self._considered[decision.id] = None if decider is None else decider.consider(task, calling)
        own = self._considered[decision.id]
        if own is None or own.models != decision.eligible:
            return None
        references = decision.request["references"]
        weights = weights_of(decision) if candidate.weights is None else candidate.weights
        value = worth(weights, references)
        asked = task if candidate.weights is None else replace(task, weights=candidate.weights)
        other: Considered | None = own
        if elsewhere:
            changed = self._decider(regime, decision, changed=True)
            other = None if changed is None else changed.consider(asked, calling)
        if other is None:
            return None
        logged = np.array(decision.propensities)
        target = self._target(decision, other, logged, Preference(value[0], self._money - value[1], -value[2]))
        models, columns = _aligned(own, other, logged, target)
        prices = self._prices(record)
        return Look(
            task_type=decision.task_type,
            models=models,
            drawn=models.index(decision.model),
            logged=columns[0],
            target=columns[1],
            now=columns[2],
            then=columns[3],
            result=result_of(record),
            cost_then=result_of(record, prices).cost_usd,
            weights=value,
            at=decision.at,
            episode=decision.episode_id,
        )

    def today(self, record: DecisionRecord) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """What is expected today of the model that was drawn and of the best, (3,) each, and what a unit of each is worth."""
        decision = record.decision
        regime = self._regime(decision)
        if regime is None:
            return None
        self._money = money_of(decision)
        self._posterior = self._refold(regime).posterior(self._last, intervals="min_quality" in decision.request)
        decider = self._decider(regime, decision, changed=False)
        own = None if decider is None else decider.consider(task_of(decision), calling_of(decision))
        if own is None or decision.model not in own.models:
            return None
        weights = worth(weights_of(decision), decision.request["references"])
        expected = expectations(own.estimates)
        utility = np.nan_to_num(expected) @ weights
        return expected[own.models.index(decision.model)], expected[int(np.argmax(utility))], weights

    def _refold(self, regime: Regime) -> Refold:
        folded = regime.policy["half_life_records"], tuple(regime.policy["trusted_judges"])
        return self._refolds.setdefault(folded, Refold(self._store, *folded))

    def _target(self, decision: Decision, other: Considered, logged: FloatArray, preference: Preference) -> FloatArray:
        candidate = self._candidate
        drawing = candidate.policy_for(decision.task_type)
        if drawing is None and candidate.weights is None and not (candidate.prices or candidate.without):
            return logged
        about = beliefs(_Named(other.models), other.estimates, preference)  # type: ignore[arg-type]  # it reads the names only
        named = drawing is not None and candidate.policy is None
        if drawing is None:
            drawing = self._drawing(decision)
        key = (drawing[0], *sorted(drawing[1].items()))
        policy = self._policies.get(key)
        if policy is None:
            policy = self._policies[key] = make(drawing[0], **drawing[1])
        if named or not self._limited:  # what a rule names is not drawn, and nothing limits it
            return policy.propensities(about)
        return choose(policy, about, 0, other.estimates, *self._limits(decision)).propensities

    def _limits(self, decision: Decision) -> tuple[Restraint | None, Safeguard | None]:
        """Under which limits the decision was drawn: those of the settings, and what was left of the day's allowance."""
        regime = self._regime(decision)
        rules = {} if regime is None else regime.policy
        each = Restraint(rules.get("exploration_quality"), rules.get("exploration_usd"))
        day = Restraint(*decision.request["allowed"]) if "allowed" in decision.request else None
        safe = None if rules.get("safe_model") is None else Safeguard(rules["safe_model"], rules["safe_shortfall"])
        self.by_allowance |= day is not None
        if safe is not None:
            self.limits[f"as safe as {safe.model} within {safe.shortfall:g}"] = None
        if each.quality is not None:
            self.limits[f"exploring for at most {each.quality:g} of quality per decision"] = None
        if each.usd is not None:
            self.limits[f"exploring for at most {usd(each.usd)} per decision"] = None
        return tighter(each, day), safe

    def _drawing(self, decision: Decision) -> tuple[str, dict[str, Any]]:
        """What drew the decision: its policy, with the settings' parameters where it was the default one."""
        regime = self._regime(decision)
        own = regime is not None and regime.policy["policy"] == decision.policy
        return decision.policy, dict(regime.policy["policy_parameters"]) if own and regime is not None else {}

    def _prices(self, record: DecisionRecord) -> Price | None:
        served = (record.outcome.model if record.outcome is not None else None) or record.decision.model
        pair = self._candidate.prices.get(served)
        return None if pair is None else Price(*pair)

    def _regime(self, decision: Decision) -> Regime | None:
        key = decision.catalog_version, decision.policy_version
        if key not in self._regimes:
            self._regimes[key] = self._store.regime(*key)
        return self._regimes[key]

    def _decider(self, regime: Regime, decision: Decision, *, changed: bool) -> Deciding | None:
        unavailable = unavailable_of(decision)
        key = (regime.catalog_version, regime.policy_version, changed, *sorted(unavailable))
        if key not in self._deciding:
            catalog = Catalog(regime.models)
            wanted = replace(regime, models=self._candidate.changed(catalog).models) if changed else regime
            self._deciding[key] = self._rebuild(wanted, unavailable, self._now, money=lambda: self._money)
        return self._deciding[key]

    def _now(self) -> Posterior:
        if self._posterior is None:
            raise StorageUnavailable("nothing was folded yet")
        return self._posterior


@dataclass(frozen=True, slots=True)
class _Named:
    models: tuple[str, ...]


def _aligned(
    own: Considered, other: Considered, logged: FloatArray, target: FloatArray
) -> tuple[tuple[str, ...], tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Both sets of models as one: probabilities 0 and expectations NaN where a model was not eligible."""
    now, then = expectations(own.estimates), expectations(other.estimates)
    if own.models == other.models:
        return own.models, (logged, target, now, then)
    models = tuple(sorted({*own.models, *other.models}))
    columns = []
    for part, values in ((own, logged), (other, target), (own, now), (other, then)):
        empty = np.zeros(len(models)) if values.ndim == 1 else np.full((len(models), values.shape[1]), np.nan)
        empty[[models.index(m) for m in part.models]] = values
        columns.append(empty)
    return models, (columns[0], columns[1], columns[2], columns[3])
