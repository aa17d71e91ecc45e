"""Takes a task to a decision: features, limits, posteriors, utility, propensities, draw, log."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from scipy.special import ndtr

from learning.arrays import FloatArray
from learning.choice import Estimates, Offers, Preference, beliefs, choose, estimate
from learning.errors import LearningError
from learning.features import SCHEMA_VERSION, encode, to_bytes
from learning.policies import POLICIES, Policy, make
from learning.policies.greedy import Greedy
from learning.posterior import Posterior
from learning.propensities import uniform_draw
from router.domain.catalog import Catalog
from router.domain.decisions import Decision, Exclusion
from router.domain.eligibility import Forecast, Screen, within_limits
from router.domain.events import Committed, Write
from router.domain.explanation import alternatives, expected, reason_of
from router.domain.models import Modality, Model
from router.domain.offers import offers_of
from router.domain.prices import token_rates
from router.domain.tasks import Task, Weights
from router.errors import ConfigurationInvalid, NoEligibleModel, TaskInvalid

_TEXT_ONLY = frozenset({Modality.TEXT})
_GREEDY = Greedy()


class LogWriter(Protocol):
    """Writes one record and returns when it is durable."""

    async def write(self, record: Write) -> Committed: ...


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """How requests are weighed and drawn; fixed for the life of the service."""

    policy: str
    policy_parameters: Mapping[str, Any]
    cost_reference_usd: float
    latency_reference_s: float
    fallback_model: str | None
    salt: bytes
    """Of the draws."""


@dataclass(frozen=True, slots=True)
class _View:
    """One catalogue as decisions read it; rebuilt only when the catalogue or the learner's list of models changes."""

    catalog: Catalog
    screen: Screen
    names: tuple[str, ...]
    offers: Offers


class RoutingService:
    """Decides. The learned state and the catalogue are immutable values that others swap."""

    def __init__(
        self,
        writer: LogWriter,
        rules: RoutingRules,
        *,
        posterior: Callable[[], Posterior],
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._writer = writer
        self._rules = rules
        self._posterior = posterior
        self._clock = clock
        self._new_id = new_id
        self._policies: dict[str, Policy] = {}
        try:
            self._policies[rules.policy] = make(rules.policy, **rules.policy_parameters)
        except LearningError as exc:
            raise ConfigurationInvalid(str(exc), field="policy", remedy="correct policy or policy_parameters") from exc
        self._view: _View | None = None
        self._catalog = Catalog()
        self.policy_version = _short_hash(rules.policy, sorted(rules.policy_parameters.items()))

    def use_catalog(self, catalog: Catalog) -> None:
        """Route by this catalogue from now on."""
        self._catalog = catalog
        self._view = None

    async def route(self, task: Task) -> Decision:
        """Decide, and return when the decision is durable.

        Raises ``NoEligibleModel``, ``TaskInvalid``, ``Overloaded``, ``StorageUnavailable``.
        """
        decision = self.decide(task)
        await self._writer.write(decision)
        return decision

    def decide(self, task: Task) -> Decision:
        """Decide without logging.

        Raises ``NoEligibleModel`` where nothing is eligible and the task forbids the fallback, ``TaskInvalid`` naming the field.
        """
        posterior = self._posterior()
        view = self._current_view(posterior)
        policy = self._policy(task)
        features = _features(task)
        screened = view.screen.apply(task)
        if not screened.models:
            return self._fall_back(task, features, posterior, screened.excluded)
        offers = view.offers if len(screened.models) == len(view.offers.models) else view.offers.take(screened.index)
        estimates = estimate(
            posterior,
            offers,
            task.task_type,
            features,
            task.context_tokens,
            max_output_tokens=math.inf if task.max_output_tokens is None else task.max_output_tokens,
        )
        limited = within_limits(screened.models, task, _forecast(task, estimates))
        excluded = screened.excluded + limited.excluded
        if not len(limited.keep):
            return self._fall_back(task, features, posterior, excluded)
        if len(limited.keep) < len(offers.models):
            offers, estimates = offers.take(limited.keep), estimates.take(limited.keep)
        preference = self.preference(task.weights)
        about = beliefs(offers, estimates, preference)
        decision_id = self._new_id("dec")
        u = uniform_draw(self._rules.salt, decision_id)
        choice = choose(policy, about, u)
        best = about.probability_best
        propensities = choice.propensities
        return Decision(
            id=decision_id,
            at=self._clock(),
            task_type=task.task_type,
            features_schema=SCHEMA_VERSION,
            features=to_bytes(features),
            request=self._request(task, u),
            eligible=tuple(offers.models),
            propensities=tuple(propensities.tolist()),
            model=offers.models[choice.index],
            propensity=choice.propensity,
            confidence=float(best[choice.index]),
            reason=reason_of(choice.index, about, estimates, limited.relaxed),
            policy=policy.name,
            policy_version=self.policy_version,
            policy_seq=posterior.seq,
            catalog_version=view.catalog.version,
            episode_id=task.episode_id,
            tags=task.tags,
            excluded=excluded,
            alternatives=alternatives(choice.index, about, estimates, preference, propensities, best),
            expected=expected(estimates, choice.index),
        )

    def preference(self, weights: Weights) -> Preference:
        """A request's weights in the learner's units."""
        return Preference(weights.quality, weights.cost / self._rules.cost_reference_usd, weights.latency / self._rules.latency_reference_s)

    def _current_view(self, posterior: Posterior) -> _View:
        view = self._view
        if view is None or view.names is not posterior.models:
            models = self._catalog.models
            view = self._view = _View(self._catalog, Screen(models), posterior.models, offers_of(models, posterior))
        return view

    def _policy(self, task: Task) -> Policy:
        if not task.explore:
            return _GREEDY
        name = task.policy or self._rules.policy
        policy = self._policies.get(name)
        if policy is None:
            if name not in POLICIES:
                raise TaskInvalid("no policy has that name", field="policy", remedy=f"choose one of {', '.join(POLICIES)}")
            try:
                policy = self._policies[name] = make(name)
            except LearningError as exc:
                raise TaskInvalid(
                    "this policy needs parameters that only the settings can give",
                    field="policy",
                    remedy="start the service with it, or name another policy",
                ) from exc
        return policy

    def _fall_back(self, task: Task, features: FloatArray, posterior: Posterior, excluded: tuple[Exclusion, ...]) -> Decision:
        """Answer with the fallback model: a forced decision, outside every propensity-weighted estimate."""
        if not task.allow_fallback:
            raise NoEligibleModel(
                f"no model is eligible: {_tally(excluded)}",
                field="constraints",
                remedy="relax the limit that excludes most, or allow the fallback model with allow_fallback = true",
            )
        model = self._fallback_model(task)
        return Decision(
            id=self._new_id("dec"),
            at=self._clock(),
            task_type=task.task_type,
            features_schema=SCHEMA_VERSION,
            features=to_bytes(features),
            request=self._request(task, 0),
            eligible=(model.id,),
            propensities=(1.0,),
            model=model.id,
            propensity=1.0,
            confidence=0.0,
            reason=f"fallback: no model is eligible ({_tally(excluded)})",
            policy="fallback",
            policy_version=self.policy_version,
            policy_seq=posterior.seq,
            catalog_version=self._catalog.version,
            fallback=True,
            forced=True,
            episode_id=task.episode_id,
            tags=task.tags,
            excluded=tuple(e for e in excluded if e.model != model.id),
            expected=None,
        )

    def _fallback_model(self, task: Task) -> Model:
        """The configured model, else the active one that reads the task's input, has the widest window and the lowest price."""
        configured = self._rules.fallback_model
        if configured is not None and configured in self._catalog and not self._catalog.get(configured).retired:
            return self._catalog.get(configured)
        active = self._catalog.active
        if not active:
            raise NoEligibleModel("the catalogue has no active model", field="models", remedy="add one with POST /v1/models")

        def rank(model: Model) -> tuple[bool, bool, float, str]:
            price = math.inf if (rates := token_rates(model.price)) is None else sum(rates)
            return (not task.modalities <= model.modalities, model.context_window < task.context_tokens, price, model.id)

        return min(active, key=rank)

    def _request(self, task: Task, u: int) -> dict[str, Any]:
        """What the log keeps of the task: numbers and identifiers, enough to recompute the decision."""
        limits, weights = task.constraints, task.weights
        kept: dict[str, Any] = {
            "draw": u,
            "context_tokens": task.context_tokens,
            "expected_output_tokens": task.expected_output_tokens,
            "max_output_tokens": task.max_output_tokens,
            "needs": sorted(task.needs),
            "modalities": sorted(task.modalities),
            "speed": task.speed,
            "max_cost_usd": limits.max_cost_usd,
            "max_latency_s": limits.max_latency_s,
            "min_quality": limits.min_quality,
            "models": None if limits.models is None else sorted(limits.models),
            "exclude": sorted(limits.exclude),
            "providers": None if limits.providers is None else sorted(limits.providers),
            "weights": [weights.quality, weights.cost, weights.latency],
            "references": [self._rules.cost_reference_usd, self._rules.latency_reference_s],
            "explore": task.explore,
            "type_confidence": task.type_confidence,
        }
        return {name: value for name, value in kept.items() if value is not None and value != []}


def _features(task: Task) -> FloatArray:
    needs = task.needs
    return encode(
        task.context_tokens,
        expected_output_tokens=task.expected_output_tokens,
        non_text_input=task.modalities != _TEXT_ONLY,
        needs_tools="tools" in needs,
        needs_json="json" in needs,
        type_confidence=task.type_confidence,
    )


def _forecast(task: Task, estimates: Estimates) -> Forecast:
    floor = task.constraints.min_quality
    if floor is None:
        sure = np.ones(len(estimates.quality))
    else:
        sure = ndtr((estimates.quality - floor) / np.sqrt(np.maximum(estimates.quality_interval_var, 1e-12)))
    return Forecast(estimates.cost, estimates.cost_p95, estimates.latency_p95, estimates.quality, sure)


def _tally(excluded: tuple[Exclusion, ...]) -> str:
    counts: dict[str, int] = {}
    for exclusion in excluded:
        counts[exclusion.code] = counts.get(exclusion.code, 0) + 1
    return ", ".join(f"{code} left out {n}" for code, n in sorted(counts.items(), key=lambda item: -item[1])) or "the catalogue is empty"


def _short_hash(*parts: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=6).hexdigest()
