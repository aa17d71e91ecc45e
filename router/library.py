"""``select_model``: the service's choice as a function call, without a service.

It decides with the same code, catalogue and learned state as ``POST /v1/route``; it logs nothing and so it learns nothing: it takes
the best expected utility and never explores. Where calls should teach, run the service.
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from learning import state
from learning.errors import IncompatibleState, LearningError
from learning.features import SCHEMA_VERSION
from learning.learner import Learner
from learning.posterior import Posterior
from learning.voices import Voices
from router import config
from router.domain.catalog import Catalog
from router.domain.decisions import Alternative, Decision, Exclusion, Expected
from router.domain.events import Committed, Write
from router.domain.ids import new_id
from router.domain.models import Capability, Modality
from router.domain.offers import facts_of
from router.domain.orchestration import Outlook
from router.domain.refold import fold_on
from router.domain.tasks import Constraints, Speed, Task, Weights
from router.errors import StorageUnavailable, TaskInvalid
from router.parts import base_catalog, routing_rules
from router.ports import Store
from router.services.routing import RoutingService
from router.storage import schema
from router.storage.sql import SqlStore

CONTEXT_TIERS: dict[str, int] = {"short": 2_000, "medium": 32_000, "long": 128_000, "very_long": 2_000_000}
"""Tokens at the upper end of each tier."""
COST_TIERS: dict[str, float] = {"free": 0.0, "budget": 0.0001, "standard": 0.001, "premium": math.inf}
"""USD per call at the upper end of each tier."""
_KEPT = 8

_Member = TypeVar("_Member", Capability, Modality)


@dataclass(frozen=True, slots=True)
class Selection:
    """The model to call. ``model`` is ``provider/name``, as everywhere."""

    provider: str
    model: str
    confidence: float
    """Probability of being the best eligible model; 0 for a fallback."""
    alternatives: tuple[Alternative, ...]
    """The next ones, each with what would make it the first."""
    reason: str
    fallback: bool
    """True: no model met the limits, and this one answers all the same."""
    expected: Expected | None
    excluded: tuple[Exclusion, ...]
    policy_seq: int
    """Log position of the learned state; 0 = from what is published about the models."""


def select_model(
    task_type: str,
    context_size: int | str = 1_000,
    speed_requirement: str | float | None = None,
    cost_constraint: str | float | None = None,
    quality_threshold: float | None = None,
    *,
    weights: Weights | None = None,
    expected_output_tokens: int | None = None,
    needs: Iterable[str] = (),
    modalities: Iterable[str] = (),
    models: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    providers: Iterable[str] | None = None,
    allow_fallback: bool = True,
    database_url: str | None = None,
) -> Selection:
    """Choose the model for a task.

    ``context_size``: input tokens, or short, medium, long, very_long. ``speed_requirement``: ultra_fast, fast, balanced, quality, or
    seconds. ``cost_constraint``: free, budget, standard, premium, or USD per call. ``quality_threshold``: expected quality in [0, 1].
    ``database_url``: the log to learn from (``sqlite:///FILE``); without it, what is published about the models decides.
    Weights and references that are not given are the settings', as for the service.

    Raises ``NoEligibleModel`` where nothing is eligible and ``allow_fallback`` is false, or ``models``, ``exclude`` and ``providers`` leave
    nobody who might fall back, ``TaskInvalid`` naming the argument,
    ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.

    >>> from router import select_model
    >>> chosen = select_model("code_generation", context_size=3_000, speed_requirement="quality", cost_constraint=0.01)
    >>> chosen.model.startswith(chosen.provider + "/") and chosen.expected.cost_usd.mean <= 0.01
    True
    >>> chosen.fallback, 0 < chosen.confidence <= 1, len(chosen.alternatives) > 0
    (False, True, True)
    >>> select_model("classification", 90_000_000).reason  # doctest: +ELLIPSIS
    'fallback: no model is eligible (context_window left out ...)'
    """
    speed, latency = _speed(speed_requirement)
    chooses = selector(database_url)
    task = Task(
        task_type=_task_type(task_type),
        context_tokens=_tokens(context_size),
        expected_output_tokens=expected_output_tokens,
        needs=_members("needs", needs, Capability),
        modalities=_members("modalities", modalities, Modality) | {Modality.TEXT},
        speed=speed,
        constraints=Constraints(
            max_cost_usd=_cost(cost_constraint),
            max_latency_s=latency,
            min_quality=_quality(quality_threshold),
            models=None if models is None else frozenset(models),
            exclude=frozenset(exclude),
            providers=None if providers is None else frozenset(providers),
        ),
        weights=chooses.weights if weights is None else weights,
        explore=False,
        allow_fallback=allow_fallback,
    )
    return chooses.select(task)


class Selector:
    """Decides from the log as it is at each call; folds only what is new since the one before. Safe to share between threads."""

    def __init__(self, settings: config.Settings, store: Store | None) -> None:
        self.weights = Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)
        self._store = store
        self._base = base_catalog(settings)
        rules = routing_rules(settings)
        self._half_life = rules.half_life_records
        self._trusted = settings.trusted
        self._lock = threading.Lock()
        self._learner: Learner | None = None
        self._posterior: Posterior = self._empty().posterior()
        self._catalog = Catalog()
        self._routing = RoutingService(_NoLog(), rules, posterior=lambda: self._posterior, clock=time.time, new_id=new_id)

    def select(self, task: Task) -> Selection:
        """The best expected utility for the task.

        Raises ``NoEligibleModel``, ``TaskInvalid``, ``StorageUnavailable``.
        """
        with self._lock:
            self._refresh()
            try:
                decision = self._routing.decide(task)
            except LearningError as exc:
                raise TaskInvalid(str(exc), field="weights", remedy="give finite weights, one of them above 0") from exc
        return _selection(decision)

    def outlook(self, task: Task) -> Outlook:
        """The models that may do a task, and what is expected of each.

        Raises ``TaskInvalid``, ``StorageUnavailable``.
        """
        with self._lock:
            self._refresh()
            return self._routing.outlook(task)

    @property
    def catalog(self) -> Catalog:
        """The models, as of the last look."""
        return self._catalog

    def voices(self) -> Voices:
        """What each judge and source has said and is worth.

        Raises ``StorageUnavailable``.
        """
        with self._lock:
            self._refresh()
            return Voices() if self._learner is None else self._learner.statistics.voices

    def read(self, tell: Callable[[int, int], None] | None) -> None:
        """Fold what is new in the log; ``tell``: how much of it is folded.

        Raises ``StorageUnavailable``.
        """
        with self._lock:
            self._refresh(tell)

    def _refresh(self, tell: Callable[[int, int], None] | None = None) -> None:
        catalog = self._base if self._store is None else self._base.merged(self._store.models())
        if self._learner is None:
            self._learner = self._restored()
        if catalog.version != self._catalog.version or not self._posterior.models:
            self._learner.register(facts_of(catalog), arriving=False)
            self._routing.use_catalog(catalog)
            self._catalog = catalog
        if self._store is not None:
            self._fold(self._store, self._learner, self._trusted, tell)
        self._posterior = self._learner.posterior()

    def _restored(self) -> Learner:
        """From the newest snapshot that fits, else empty."""
        snapshot = None if self._store is None else self._store.latest_snapshot(SCHEMA_VERSION)
        if snapshot is not None:
            try:
                learner = state.load(snapshot.state, facts_of(self._base))
            except IncompatibleState:  # the log is the truth: it is folded from its start
                return self._empty()
            if learner.folds_by(self._half_life, self._trusted):
                return learner
        return self._empty()

    def _empty(self) -> Learner:
        return Learner(self._half_life, trusted=self._trusted)

    @staticmethod
    def _fold(store: Store, learner: Learner, trusted: Collection[str], tell: Callable[[int, int], None] | None) -> None:
        first, last = learner.seq, store.last_seq()

        def told(seq: int) -> None:
            if tell is not None:
                tell(seq - first, last - first)

        told(first)
        fold_on(store, learner, last, trusted, told)


class _NoLog:
    """Stands where the service has its log; deciding writes nothing."""

    async def write(self, record: Write) -> Committed:
        del record
        raise StorageUnavailable("a library call has no log", remedy="run the service to keep decisions")


@lru_cache(maxsize=_KEPT)
def selector(database_url: str | None) -> Selector:
    """What decides from a log, or without one from what is published.

    Raises ``TaskInvalid`` for a store in memory, ``StorageUnavailable`` where there is no database of this release.
    """
    if database_url is None:
        return Selector(config.load(database_url="memory://"), None)
    settings = config.load(database_url=database_url)
    if settings.in_memory:
        raise TaskInvalid(
            "a store in memory holds nothing to learn from", field="database_url", remedy="name a file: sqlite:///pointsman.db"
        )
    schema.require(settings.database_url)
    return Selector(settings, SqlStore(settings.database_url))


def _selection(decision: Decision) -> Selection:
    return Selection(
        provider=decision.model.partition("/")[0],
        model=decision.model,
        confidence=decision.confidence,
        alternatives=decision.alternatives,
        reason=decision.reason,
        fallback=decision.fallback,
        expected=decision.expected,
        excluded=decision.excluded,
        policy_seq=decision.policy_seq,
    )


def _task_type(name: str) -> str:
    if not isinstance(name, str) or not name or len(name) > 128:
        raise TaskInvalid("task_type must be a name", field="task_type", remedy="e.g. 'code_generation'; any other name works too")
    return name


def _tokens(size: int | str) -> int:
    if isinstance(size, str):
        if size not in CONTEXT_TIERS:
            raise TaskInvalid("context_size is no tier", field="context_size", remedy=f"give tokens, or one of {', '.join(CONTEXT_TIERS)}")
        return CONTEXT_TIERS[size]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 100_000_000:
        raise TaskInvalid("context_size must be a whole number of tokens", field="context_size", remedy="e.g. 3_000, or 'medium'")
    return size


def _speed(need: str | float | None) -> tuple[Speed | None, float | None]:
    if need is None:
        return None, None
    if isinstance(need, str):
        try:
            return Speed(need), None
        except ValueError:
            remedy = f"give seconds, or one of {', '.join(Speed)}"
            raise TaskInvalid("speed_requirement is no speed", field="speed_requirement", remedy=remedy) from None
    return None, _amount("speed_requirement", need, "give seconds above 0")


def _cost(limit: str | float | None) -> float | None:
    if isinstance(limit, str):
        if limit not in COST_TIERS:
            raise TaskInvalid("cost_constraint is no tier", field="cost_constraint", remedy=f"give USD, or one of {', '.join(COST_TIERS)}")
        limit = COST_TIERS[limit]
        return None if math.isinf(limit) else limit
    return None if limit is None else _amount("cost_constraint", limit, "give USD per call, at least 0")


def _quality(threshold: float | None) -> float | None:
    if threshold is None:
        return None
    if _amount("quality_threshold", threshold, "give a number from 0 to 1") > 1:
        raise TaskInvalid("quality_threshold must not exceed 1", field="quality_threshold", remedy="give a number from 0 to 1")
    return threshold


def _amount(field: str, value: float, remedy: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise TaskInvalid(f"{field} must be a finite number, not negative", field=field, remedy=remedy)
    return float(value)


def _members(field: str, names: Iterable[str], kind: type[_Member]) -> frozenset[_Member]:
    try:
        return frozenset(kind(name) for name in names)
    except ValueError:
        raise TaskInvalid(f"{field} has an unknown word", field=field, remedy=f"use {', '.join(kind)}") from None
