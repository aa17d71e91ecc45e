"""A log to look into from Python: tables of decisions, outcomes, feedback and beliefs, and the questions that can be asked of them.

Read-only. Tables are pandas data frames (``pip install "pointsman[notebooks]"``); everything else works without pandas.

>>> from router import open_log
>>> log = open_log("sqlite:///pointsman.db")  # doctest: +SKIP
>>> log.decisions().groupby("model").quality.mean()  # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from learning.choice import Preference
from learning.learner import Learner
from learning.rules import PolicyReport, preferences
from router import config
from router.domain.candidates import Candidate
from router.domain.catalog import Catalog
from router.domain.evaluation import Comparison, Exploration
from router.domain.events import DecisionRecord, Regime
from router.domain.lift import Lift
from router.domain.offers import offers_of
from router.domain.recall import LAST, Scope, result_of
from router.domain.refold import Refold
from router.domain.tasks import Weights, needed_modalities
from router.errors import StorageUnavailable, TaskInvalid
from router.ports import Store
from router.recomputing import decide_again
from router.services.audit import Audit, AuditService
from router.services.evaluation import EvaluationService
from router.services.history import History, HistoryService
from router.services.lift import LiftService

if TYPE_CHECKING:
    import pandas as pd

_PAGE = 1_000


def open_log(database_url: str) -> "Logbook":
    """The log of a service, running or not: ``sqlite:///FILE`` or ``postgresql://…``.

    Raises ``StorageUnavailable`` where there is none of this release, ``ConfigurationInvalid``.
    """
    from router.storage import schema
    from router.storage.sql import SqlStore

    settings = config.load(database_url=database_url)
    settings.require_disk("has no log")
    schema.require(settings.database_url)
    weights = Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)
    return Logbook(SqlStore(settings.database_url), weights)


class Logbook:
    """One log. ``weights`` are those that preferences are stated for."""

    def __init__(self, store: Store, weights: Weights | None = None) -> None:
        self.store = store
        self.weights = weights or Weights()
        self.evaluation = EvaluationService(store, decide_again, lambda: self.catalog)
        self._audit = AuditService(store, decide_again)

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @cached_property
    def regime(self) -> Regime:
        """The catalogue and the settings in force at the end of the log, when it was first asked for.

        Raises ``StorageUnavailable`` where the log is empty.
        """
        regime = self.store.regime_at(self.store.last_seq())
        if regime is None:
            raise StorageUnavailable("the log is empty", field="database_url", remedy="start the service on it first")
        return regime

    @property
    def catalog(self) -> Catalog:
        """Its models."""
        return Catalog(self.regime.models)

    @cached_property
    def learner(self) -> Learner:
        """What is learned at the end of the log, folded from it."""
        policy = self.regime.policy
        return Refold(self.store, policy["half_life_records"], tuple(policy["trusted_judges"])).at(self.store.last_seq())

    def records(self, last: int | None = None, task_type: str | None = None) -> Iterator[DecisionRecord]:
        """Decisions with what came of them, newest first."""
        before: int | None = None
        while last is None or last > 0:
            page = self.store.decisions(before_seq=before, limit=_PAGE if last is None else min(_PAGE, last), task_type=task_type)
            yield from page
            if len(page) < _PAGE:
                return
            before, last = page[-1].seq, None if last is None else last - len(page)

    def decisions(self, last: int | None = None, task_type: str | None = None) -> "pd.DataFrame":
        """One row per decision, oldest first, with its outcome and its score."""
        return _frame([_decision_row(record) for record in self.records(last, task_type)][::-1])

    def outcomes(self, last: int | None = None) -> "pd.DataFrame":
        """One row per outcome: what was measured."""
        rows = [
            {"decision_id": o.decision_id, "at": o.at, "model": o.model or record.decision.model, "status": o.status.value}
            | {name: getattr(o, name) for name in ("latency_s", "ttft_s", "input_tokens", "output_tokens", "cost_usd")}
            for record in self.records(last)
            if (o := record.outcome) is not None
        ]
        return _frame(rows[::-1])

    def feedback(self, last: int | None = None) -> "pd.DataFrame":
        """One row per score, correction or (without score) retraction, with the model that it is about."""
        rows = [
            {"decision_id": record.decision.id, "task_type": record.decision.task_type, "model": record.decision.model} | entry
            for record in self.records(last)
            for entry in reversed(record.feedback)
        ]
        return _frame(rows[::-1])

    def beliefs(self, task_type: str | None = None, weights: Weights | None = None) -> "pd.DataFrame":
        """One row per task type and model: expected quality with its 90 % interval, cost, latency, utility, probability of being best."""
        rows = [
            {"task_type": known.task_type, "model": m.model, "quality": m.quality.mean, "low": m.quality.low, "high": m.quality.high}
            | {"cost_usd": m.cost_usd, "latency_s": m.latency_s, "scores": m.n, "utility": m.utility}
            | {"probability_best": m.probability_best, "recommended": m.model == known.recommended}
            for known in self.preferences(task_type, weights).task_types
            for m in known.models
        ]
        return _frame(rows)

    def rules(self, weights: Weights | None = None) -> "pd.DataFrame":
        """One row per task type: the recommendation, how sure it is, and what would change it."""
        rows: list[dict[str, Any]] = [
            {"task_type": t.task_type, "recommended": t.recommended, "status": str(t.status), "scores": t.n, "runner_up": t.runner_up}
            | {"difference": None if t.difference is None else t.difference.mean, "flip": t.flip}
            for t in self.preferences(None, weights).task_types
        ]
        return _frame(rows)

    def preferences(self, task_type: str | None = None, weights: Weights | None = None) -> PolicyReport:
        """The learned preferences, as the service tells them."""
        posterior, policy, wanted = self.learner.posterior(), self.regime.policy, weights or self.weights
        preference = Preference(wanted.quality, wanted.cost / policy["cost_reference_usd"], wanted.latency / policy["latency_reference_s"])
        names = sorted(posterior.task_types) if task_type is None else [task_type]
        known = []
        for name in names:
            models = [m for m in self.catalog.active if needed_modalities(name) <= m.modalities and m.id in posterior.model_index]
            known.append(preferences(posterior, offers_of(models, posterior), name, preference))
        return PolicyReport(posterior.seq, self.learner.digest(), policy["policy"], self.regime.policy_version, tuple(known))

    def evaluate(self, *, last: int = LAST, task_type: str | None = None, **candidate: Any) -> Comparison:
        """What the logged decisions would have been worth under a ``Candidate``, given by its fields: ``policy``, ``model``, ``rules``, …

        Raises ``TaskInvalid``, ``ModelNotFound``.
        """
        return self.evaluation.evaluate(_candidate(candidate), Scope(last, task_type))

    def what_if(self, *, last: int = LAST, task_type: str | None = None, **candidate: Any) -> Comparison:
        """What as many decisions to come would show under a ``Candidate``.

        Raises ``TaskInvalid``, ``ModelNotFound``.
        """
        return self.evaluation.what_if(_candidate(candidate), Scope(last, task_type))

    def exploration(self, last: int = LAST) -> Exploration:
        """What learning cost."""
        return self.evaluation.exploration(Scope(last))

    def lift(self) -> Lift:
        """What routing gains over the held-back baseline."""
        return LiftService(self.store).lift()

    def audit(self, decision_id: str) -> Audit:
        """One decision, taken again. Raises ``DecisionNotFound``."""
        return self._audit.audit(decision_id)

    def history(self, task_type: str, points: int = 30) -> History:
        """How the preferences on a task type moved, and why."""
        return HistoryService(self.store, self.weights).history(task_type, points)


def comparison_frame(made: Comparison) -> "pd.DataFrame":
    """One row per quantity: as it was, as it would be, and the difference, with 95 % intervals; empty where the log cannot tell."""
    rows = []
    for name in ("utility", "quality", "cost_usd", "latency_s"):
        value = getattr(made, name)
        if value is None:
            continue
        row: dict[str, Any] = {"quantity": name, "now": None if value.now is None else value.now.mean}
        for part in ("then", "difference"):
            interval = getattr(value, part)
            row |= {part: None, f"{part}_low": None, f"{part}_high": None}
            if interval is not None:
                row |= {part: interval.mean, f"{part}_low": interval.low, f"{part}_high": interval.high}
        rows.append(row | {"worth_outcomes": value.support.effective})
    return _frame(rows)


def _candidate(fields: Mapping[str, Any]) -> Candidate:
    try:
        return Candidate(**fields)
    except TypeError as exc:
        known = ", ".join(Candidate.__dataclass_fields__)
        raise TaskInvalid("a candidate has no field of that name", field="candidate", remedy=f"use {known}") from exc


def _decision_row(record: DecisionRecord) -> dict[str, Any]:
    decision, result, expected = record.decision, result_of(record), record.decision.expected
    return {
        "seq": record.seq,
        "id": decision.id,
        "at": decision.at,
        "task_type": decision.task_type,
        "model": decision.model,
        "propensity": decision.propensity,
        "eligible": len(decision.eligible),
        "confidence": decision.confidence,
        "policy": decision.policy,
        "forced": decision.forced,
        "arm": decision.request.get("arm"),
        "episode_id": decision.episode_id,
        "context_tokens": decision.request.get("context_tokens"),
        "expected_quality": None if expected is None else expected.quality.mean,
        "quality": result.quality,
        "cost_usd": result.cost_usd,
        "latency_s": result.latency_s,
        "failed": result.failed,
        "reason": decision.reason,
    }


def _frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    try:
        import pandas as pd
    except ImportError as exc:
        raise StorageUnavailable("tables need pandas", remedy="pip install 'pointsman[notebooks]'") from exc
    made = pd.DataFrame(rows)
    if "at" in made:
        made["at"] = pd.to_datetime(made["at"], unit="s", utc=True)
    return made
