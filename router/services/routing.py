"""Takes a task to a decision: features, limits, posteriors, utility, propensities, draw, log."""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import msgspec
import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import (
    Choice,
    Estimates,
    Offers,
    Preference,
    Restraint,
    beliefs,
    choose,
    estimate,
    given_up,
    output_tokens,
    tighter,
)
from learning.distributions import ndtr
from learning.errors import LearningError
from learning.features import SCHEMA_VERSION, encode, to_bytes
from learning.policies import POLICIES, Beliefs, Policy, make
from learning.policies.fixed import Fixed
from learning.policies.greedy import Greedy
from learning.posterior import Posterior
from learning.propensities import SCALE, uniform_draw
from learning.text import TextShift
from router.domain.calling import Calling, busy, remedies
from router.domain.catalog import Catalog
from router.domain.decisions import Decision, Exclusion, unlogged
from router.domain.eligibility import Forecast, Screen, within_limits
from router.domain.episodes import Kept, keep
from router.domain.events import Committed, Write
from router.domain.explanation import Weighed, alternatives, expected, reason_of, weighed
from router.domain.lift import BASELINE, ROUTED
from router.domain.models import Modality, Model
from router.domain.offers import offers_of
from router.domain.orchestration import Outlook
from router.domain.pins import Pin
from router.domain.prices import token_rates
from router.domain.spending import DayStanding, Exhausted
from router.domain.tasks import Task, Weights
from router.errors import BudgetExhausted, ConfigurationInvalid, NoEligibleModel, ProviderUnavailable, TaskInvalid

_TEXT_ONLY = frozenset({Modality.TEXT})
_GREEDY = Greedy()
_HOLDBACK = b"pointsman holdback"
"""Makes the arms of the holdback: the same whatever the salt."""


class Money(Protocol):
    """What a dollar costs in utility, on top of a request's own weight."""

    @property
    def utility_per_usd(self) -> float: ...

    def price(self, utility: FloatArray, sd: FloatArray, cost: FloatArray) -> float:
        """The same for a request that is about to be decided; see ``learning.pacing.Pacer.price``."""
        ...


class Purse(Protocol):
    """The day's money."""

    def spent(self) -> DayStanding | None:
        """How the day stands where its money is spent, else None."""
        ...


class Allowance(Protocol):
    """What decisions may give up together for the sake of learning."""

    def limits(self) -> Restraint:
        """What the next one may."""
        ...

    def used(self, quality: float, usd: float) -> None:
        """Take note of what one gave up, in expected points of quality and dollars."""
        ...


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
    holdback_share: float
    """Of the episodes that the baseline answers."""
    baseline_model: str | None
    half_life_records: float
    """Of the learned state that decisions are taken from."""
    trusted_judges: tuple[str, ...]
    """Those that the others are measured by there."""
    exploration_quality: float | None
    """Expected points of quality that one decision may give up to learn."""
    exploration_usd: float | None
    """Expected dollars that it may spend on top."""
    salt: bytes
    """Of the draws."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """By task type: whom to call instead of drawing."""

    def told(self) -> dict[str, Any]:
        """All but the salt, JSON-ready: what the log keeps, and what ``policy_version`` is the hash of."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("salt", "pins")}
        pins = {"pins": {task_type: pin.digest for task_type, pin in sorted(self.pins.items())}} if self.pins else {}
        return kept | {"policy_parameters": dict(sorted(self.policy_parameters.items()))} | pins


@dataclass(frozen=True, slots=True)
class _View:
    """One catalogue as decisions read it; rebuilt only when the catalogue or the learner's list of models changes."""

    catalog: Catalog
    screen: Screen
    names: tuple[str, ...]
    offers: Offers


@dataclass(frozen=True, slots=True)
class _Standing:
    """The models that a decision is about, and what is expected of each."""

    offers: Offers
    estimates: Estimates
    about: Beliefs
    preference: Preference
    money: float
    """Utility per dollar that a budget adds."""
    relaxed: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    read: "_Read | None"
    """What the task's text says of the models, where it was read."""

    def logged(self, features: FloatArray, index: int) -> bytes:
        """The features, and behind them what the text was taken to say of the model at ``index``."""
        told = self.read
        if told is None:
            return to_bytes(features)
        foretold = told.shift.foretold(told.text, float(told.plain[index]), index, self.offers.models[index])
        return to_bytes(features) + foretold.to_bytes()

    @property
    def paced(self) -> dict[str, float]:
        """What the log keeps of the budget's part in the decision."""
        return {"money": self.money} if self.money else {}


@dataclass(frozen=True, slots=True)
class _Read:
    """What a task's text says of the models that a decision is about."""

    text: bytes
    shift: TextShift
    plain: FloatArray
    """(n,) expected quality without it."""

    def take(self, keep: Sequence[int] | IntArray) -> "_Read":
        rows = np.asarray(keep, dtype=np.int64)
        return replace(self, shift=replace(self.shift, own=self.shift.own[rows]), plain=self.plain[rows])


@dataclass(frozen=True, slots=True)
class Considered:
    """What a decision would be drawn from; the arrays are in the order of ``models``."""

    models: tuple[str, ...]
    propensities: FloatArray
    estimates: Estimates
    about: Beliefs
    excluded: tuple[Exclusion, ...]
    preference: Preference


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
        draw: Callable[[str], int] | None = None,
        money: Money | None = None,
        purse: Purse | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """``draw``: 24 bits for a decision's id; those of the salt unless given. ``money`` keeps a budget, ``purse`` a day's, ``allowance``
        that for exploring.
        """
        self._writer = writer
        self._rules = rules
        self._posterior = posterior
        self._clock = clock
        self._new_id = new_id
        self._draw = draw or (lambda decision_id: uniform_draw(rules.salt, decision_id))
        self._money = money
        self._purse = purse
        self._allowance = allowance
        limits = rules.exploration_quality, rules.exploration_usd
        self._restraint = None if limits == (None, None) else Restraint(*limits)
        self._policies: dict[str, Policy] = {}
        try:
            self._policies[rules.policy] = make(rules.policy, **rules.policy_parameters)
        except LearningError as exc:
            raise ConfigurationInvalid(str(exc), field="policy", remedy="correct policy or policy_parameters") from exc
        self._views: dict[bool, _View] = {}
        """By whether only models that can be called are eligible."""
        self._unavailable: Mapping[str, str] = {}
        self._catalog = Catalog()
        self.policy_version = _short_hash(rules.told())

    def use_catalog(self, catalog: Catalog) -> None:
        """Route by this catalogue from now on."""
        self._catalog = catalog
        self._views.clear()

    def use_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Call none of these models; each comes with the remedy."""
        self._unavailable = unavailable
        self._views.clear()

    @property
    def pins(self) -> Mapping[str, Pin]:
        """By task type: whom the rules file calls."""
        return self._rules.pins

    async def route(self, task: Task) -> Decision:
        """Decide, and return when the decision is durable.

        Raises ``NoEligibleModel``, ``TaskInvalid``, ``BudgetExhausted``, ``Overloaded``, ``StorageUnavailable``.
        """
        decision = self.decide(task)
        committed = await self._writer.write(decision)
        return decision if committed.logged else unlogged(decision)

    def decide(self, task: Task, calling: Calling | None = None, *, explained: bool = True) -> Decision:
        """Decide without logging; with ``calling`` only among models that can be called now. ``explained``: with its alternatives.

        Raises ``NoEligibleModel`` where nothing is eligible and the task forbids the fallback, ``TaskInvalid`` naming the field,
        ``BudgetExhausted`` where the day's money is spent and the operator wants a stop then; with ``calling`` also ``ModelNotFound``,
        ``ProviderUnavailable``, ``AllModelsBusy``.
        """
        spent = self._spent()
        posterior = self._posterior()
        policy = self._policy(task)
        features = _features(task)
        named = calling.model if calling is not None else None
        standing = self._stand(task, features, posterior, calling, deciding=True)
        if not len(standing.offers.models):
            return self._fall_back(task, features, posterior, standing.excluded, calling)
        about, estimates = standing.about, standing.estimates
        decision_id = self._new_id("dec")
        free = named is None and spent is None
        pin = self._pinned(task, standing) if free else None
        arm = self._arm(task, decision_id) if free and pin is None else None
        u, kept, name, forced = 0, None, policy.name, True
        told: dict[str, Any] = {}
        if named is not None:
            index, propensities, name = 0, np.ones(1), "named"
            reason = "the request names this model"
        elif spent is not None:
            index, name = int(_by_cost(about, estimates)[0]), "budget"
            propensities, reason = np.eye(len(about.models))[index], "the day's budget is spent: the lowest expected cost decides"
        elif pin is not None:
            index, propensities, name = pin[0], np.eye(len(about.models))[pin[0]], "pinned"
            reason = pin[1]
        elif arm == BASELINE:
            index, name = Fixed(self._rules.baseline_model or "").choice(about), "holdback"
            propensities = np.eye(len(about.models))[index]
            reason = f"held back: {self._rules.holdback_share:.0%} of the traffic goes to the baseline, to measure what routing gains"
        elif (kept := self._kept(task, standing, calling)) is not None:
            index, propensities, name = kept.index, np.eye(len(about.models))[kept.index], "episode"
            reason, told = kept.reason, {"kept": kept.told}
        else:
            u = self._draw(decision_id)
            choice, told = self._draw_one(policy, about, u, estimates)
            index, propensities, forced = choice.index, choice.propensities, False
            reason = reason_of(index, about, estimates, standing.relaxed)
        best = about.probability_best
        return Decision(
            id=decision_id,
            at=self._clock(),
            task_type=task.task_type,
            features_schema=SCHEMA_VERSION,
            features=standing.logged(features, index),
            request=self._request(task, u) | self._experiment(arm) | standing.paced | told,
            eligible=tuple(about.models),
            propensities=tuple(propensities.tolist()),
            model=about.models[index],
            propensity=float(propensities[index]),
            confidence=float(best[index]),
            reason=reason,
            policy=name,
            policy_version=self.policy_version,
            policy_seq=posterior.seq,
            catalog_version=self._catalog.version,
            forced=forced,
            episode_id=task.episode_id,
            tags=task.tags,
            excluded=standing.excluded,
            alternatives=alternatives(index, about, estimates, standing.preference, propensities, best) if explained else (),
            expected=expected(estimates, index),
        )

    def _draw_one(self, policy: Policy, about: Beliefs, u: int, estimates: Estimates) -> tuple[Choice, dict[str, Any]]:
        """A draw, and what the log keeps of the allowance it was made under."""
        if self._allowance is None:
            return choose(policy, about, u, estimates, self._restraint), {}
        limits = self._allowance.limits()
        choice = choose(policy, about, u, estimates, tighter(self._restraint, limits))
        self._allowance.used(*given_up(choice.propensities, about, estimates))
        return choice, {"allowed": [limits.quality, limits.usd]}

    def _spent(self) -> DayStanding | None:
        """How the day stands where its money is spent and something is decided all the same; None while there is money.

        Raises ``BudgetExhausted``.
        """
        standing = self._purse.spent() if self._purse is not None else None
        if standing is not None and standing.exhausted is Exhausted.REFUSE:
            raise BudgetExhausted(
                "the day's budget is spent",
                field="budget_usd_per_day",
                remedy="wait for the next day (UTC), raise BUDGET_USD_PER_DAY, or set BUDGET_EXHAUSTED=cheapest",
                retry_after_s=max(1.0, standing.ends_at - self._clock()),
            )
        return standing

    def _arm(self, task: Task, decision_id: str) -> str | None:
        """The arm of the holdback experiment; None outside it. A whole episode is in one arm, on every service and after every restart."""
        if not self._rules.holdback_share or task.policy is not None:
            return None
        unit = task.episode_id or decision_id
        return BASELINE if uniform_draw(_HOLDBACK, unit) < self._rules.holdback_share * SCALE else ROUTED

    def _experiment(self, arm: str | None) -> dict[str, Any]:
        return {} if arm is None else {"arm": arm, "held_back": self._rules.holdback_share}

    def consider(self, task: Task, calling: Calling) -> Considered | None:
        """What is expected of each eligible model, and with which probability it would be drawn; None where none is eligible."""
        standing = self._stand(task, _features(task), self._posterior(), replace(calling, model=None))
        if not len(standing.offers.models):
            return None
        propensities = choose(self._policy(task), standing.about, 0, standing.estimates, self._restraint).propensities
        about = standing.about
        return Considered(tuple(about.models), propensities, standing.estimates, about, standing.excluded, standing.preference)

    def weigh(self, task: Task, calling: Calling) -> tuple[Weighed, ...]:
        """What is expected of each eligible model, or of the one that the request names; empty where none is eligible."""
        standing = self._stand(task, _features(task), self._posterior(), calling)
        return weighed(standing.about, standing.estimates) if len(standing.offers.models) else ()

    def next_best(self, task: Task, calling: Calling, tried: Collection[str]) -> str | None:
        """The eligible model with the best expected utility that was not tried and can be called now; None where there is none.

        Where rules are pinned for the task type, their models come first, in their order; where the day's money is spent, the cheapest.
        """
        standing = self._stand(task, _features(task), self._posterior(), replace(calling, model=None))
        models = standing.offers.models
        spent = self._purse is not None and self._purse.spent() is not None
        order = _by_cost(standing.about, standing.estimates) if spent else np.argsort(-standing.about.mean, kind="stable")
        pin = None if spent else self._rules.pins.get(task.task_type)
        first = [model for model in pin.models if model in models] if pin is not None else []
        return next((model for model in (*first, *(models[i] for i in order.tolist())) if model not in tried), None)

    def cost_at_most(self, task: Task, model_id: str) -> float | None:
        """USD, one-sided 95 % of a call; None where nobody knows."""
        posterior, model = self._posterior(), self._catalog.get(model_id)
        cost = float(self._estimates(task, _features(task), posterior, offers_of((model,), posterior))[0].cost_p95[0])
        return None if math.isnan(cost) else cost

    def outlook(self, task: Task) -> Outlook:
        """The models that may do a task, and what is expected of each."""
        features, posterior = _features(task), self._posterior()
        standing = self._stand(task, features, posterior, None)
        limit = math.inf if task.max_output_tokens is None else task.max_output_tokens
        tokens = np.minimum(output_tokens(posterior, standing.offers, task.task_type, features), limit)
        return Outlook(
            models=tuple(standing.offers.models),
            estimates=standing.estimates,
            about=standing.about,
            output_tokens=tuple(tokens.tolist()),
            scores=tuple(posterior.scores(posterior.task(task.task_type))[standing.offers.index].tolist()),
            excluded=standing.excluded,
            relaxed=standing.relaxed,
            seq=posterior.seq,
        )

    def planned(self, task: Task, model_id: str, count: int, reason: str) -> list[Decision]:
        """Decisions, one for each of ``count`` agents with this task, for the model that a plan gives them: forced, not drawn.

        Raises ``NoEligibleModel`` where the model may no longer do it, ``BudgetExhausted``.
        """
        self._spent()
        features, posterior = _features(task), self._posterior()
        standing = self._stand(task, features, posterior, None)
        about = standing.about
        if model_id not in about.models:
            remedy = "send the plan's request again"
            raise NoEligibleModel("a model of the plan is no longer eligible", field="agents", remedy=remedy)
        index = about.models.index(model_id)
        one = Decision(
            id="",
            at=self._clock(),
            task_type=task.task_type,
            features_schema=SCHEMA_VERSION,
            features=standing.logged(features, index),
            request=self._request(task, 0),
            eligible=tuple(about.models),
            propensities=tuple(np.eye(len(about.models))[index].tolist()),
            model=model_id,
            propensity=1.0,
            confidence=float(about.probability_best[index]),
            reason=reason,
            policy="plan",
            policy_version=self.policy_version,
            policy_seq=posterior.seq,
            catalog_version=self._catalog.version,
            forced=True,
            episode_id=task.episode_id,
            tags=task.tags,
            excluded=standing.excluded,
            expected=expected(standing.estimates, index),
        )
        return [replace(one, id=self._new_id("dec")) for _ in range(count)]

    def _stand(
        self, task: Task, features: FloatArray, posterior: Posterior, calling: Calling | None, *, deciding: bool = False
    ) -> _Standing:
        """The eligible models, or the one that the request names whatever the limits, and what is expected of them."""
        if calling is not None and calling.model is not None:
            return self._named(task, features, posterior, calling, calling.model)
        view = self._current_view(posterior, callable_only=calling is not None)
        screened = view.screen.apply(task)
        index, excluded = screened.index, screened.excluded
        offers = view.offers if len(index) == len(view.offers.models) else view.offers.take(index)
        models = screened.models
        if calling is not None and calling.resting and (out := [i for i, name in enumerate(screened.ids) if name in calling.resting]):
            excluded += tuple(calling.exclusion(screened.ids[i]) for i in out)
            keep = [i for i in range(len(models)) if i not in set(out)]
            offers, models = offers.take(keep), tuple(models[i] for i in keep)
        estimates, read = self._estimates(task, features, posterior, offers)
        limited = within_limits(models, task, _forecast(task, estimates))
        if len(limited.keep) < len(models):
            offers, estimates = offers.take(limited.keep), estimates.take(limited.keep)
            read = None if read is None else read.take(limited.keep)
        return self._standing(task, offers, estimates, limited.relaxed, excluded + limited.excluded, read, deciding=deciding)

    def _named(self, task: Task, features: FloatArray, posterior: Posterior, calling: Calling, model_id: str) -> _Standing:
        model = self._catalog.get(model_id)
        if model.retired:
            raise NoEligibleModel("this model is retired", field="model", remedy="GET /v1/models lists those in use; auto chooses one")
        if (remedy := self._unavailable.get(model_id)) is not None:
            raise ProviderUnavailable(f"the provider {model.provider} cannot be called", field="model", remedy=remedy)
        if model_id in calling.resting:
            raise busy("this model failed repeatedly and rests", calling.resting[model_id])
        offers = offers_of((model,), posterior)
        estimates, read = self._estimates(task, features, posterior, offers)
        return self._standing(task, offers, estimates, (), (), read)

    def _standing(
        self,
        task: Task,
        offers: Offers,
        estimates: Estimates,
        relaxed: tuple[str, ...],
        excluded: tuple[Exclusion, ...],
        read: _Read | None,
        *,
        deciding: bool = False,
    ) -> _Standing:
        preference, money = self.preference(task.weights), 0.0
        about = beliefs(offers, estimates, preference)
        if self._money is not None and len(offers.models):
            money = self._money.price(about.mean, about.sd, estimates.cost) if deciding else self._money.utility_per_usd
            if money:
                preference = replace(preference, cost_per_usd=preference.cost_per_usd + money)
                about = beliefs(offers, estimates, preference)
        return _Standing(offers, estimates, about, preference, money, relaxed, excluded, read)

    def _pinned(self, task: Task, standing: _Standing) -> tuple[int, str] | None:
        """The model that the rules file says, and the reason; None where it says none that is eligible."""
        pin = self._rules.pins.get(task.task_type)
        if pin is None:
            return None
        models = standing.offers.models
        found = next((model for model in pin.models if model in models), None)
        if found is None:
            return None
        place = "its primary model" if found == pin.models[0] else f"{pin.models[0]} is not eligible here"
        return list(models).index(found), f"the rules pinned as {pin.digest[:12]} decide {task.task_type}: {place}"

    def _kept(self, task: Task, standing: _Standing, calling: Calling | None) -> Kept | None:
        if calling is None or calling.last is None or calling.last.model not in standing.offers.models:
            return None
        price = self._catalog.get(calling.last.model).price
        return keep(calling.last, standing.about, price, task.context_tokens, standing.preference, self._clock())

    def _estimates(self, task: Task, features: FloatArray, posterior: Posterior, offers: Offers) -> tuple[Estimates, _Read | None]:
        estimates = estimate(
            posterior,
            offers,
            task.task_type,
            features,
            task.context_tokens,
            max_output_tokens=math.inf if task.max_output_tokens is None else task.max_output_tokens,
        )
        if task.text is None:
            return estimates, None
        shift = posterior.text_shift(task.text, offers.index, posterior.task(task.task_type))
        return shift.applied(estimates), _Read(task.text, shift, estimates.quality)

    def preference(self, weights: Weights) -> Preference:
        """A request's weights in the learner's units."""
        return Preference(weights.quality, weights.cost / self._rules.cost_reference_usd, weights.latency / self._rules.latency_reference_s)

    def _current_view(self, posterior: Posterior, *, callable_only: bool) -> _View:
        view = self._views.get(callable_only)
        if view is None or view.names is not posterior.models:
            models = self._catalog.models
            screen = Screen(models, self._unavailable if callable_only else None)
            view = self._views[callable_only] = _View(self._catalog, screen, posterior.models, offers_of(models, posterior))
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

    def _fall_back(
        self, task: Task, features: FloatArray, posterior: Posterior, excluded: tuple[Exclusion, ...], calling: Calling | None
    ) -> Decision:
        """Answer with the fallback model: a forced decision, outside every propensity-weighted estimate."""
        if calling is not None and not any(self._can_be_called(model) for model in self._catalog.active):
            raise ProviderUnavailable("no provider can be called", field="model", remedy=remedies(self._unavailable.values()))
        if not task.allow_fallback:
            if calling is not None and any(exclusion.code == "circuit_open" for exclusion in excluded):
                raise busy("the models that the request allows failed repeatedly and rest", min(calling.resting.values()))
            raise NoEligibleModel(
                f"no model is eligible: {_tally(excluded)}",
                field="constraints",
                remedy="relax the limit that excludes most, or allow the fallback model with allow_fallback = true",
            )
        model = self._fallback_model(task, calling)
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

    def _can_be_called(self, model: Model) -> bool:
        return model.id not in self._unavailable

    def _fallback_model(self, task: Task, calling: Calling | None) -> Model:
        """The configured model, else the active one that reads the task's input, has the widest window and the lowest price."""
        active = self._catalog.active
        if calling is not None and active:
            active = tuple(m for m in active if self._can_be_called(m) and m.id not in calling.resting)
            if not active:
                raise busy("every model that can be called failed repeatedly and rests", min(calling.resting.values()))
        configured = next((model for model in active if model.id == self._rules.fallback_model), None)
        if configured is not None:
            return configured
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
            "needs": sorted(task.needs) or None,
            "modalities": sorted(task.modalities),
            "speed": task.speed,
            "max_cost_usd": limits.max_cost_usd,
            "max_latency_s": limits.max_latency_s,
            "min_quality": limits.min_quality,
            "models": None if limits.models is None else sorted(limits.models),
            "exclude": sorted(limits.exclude) or None,
            "providers": None if limits.providers is None else sorted(limits.providers),
            "weights": [weights.quality, weights.cost, weights.latency],
            "references": [self._rules.cost_reference_usd, self._rules.latency_reference_s],
            "explore": task.explore,
            "type_confidence": task.type_confidence,
        }
        return {name: value for name, value in kept.items() if value is not None}


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


def _by_cost(about: Beliefs, estimates: Estimates) -> IntArray:
    """(n,) the models from the lowest expected cost up, unknown ones last; of equals the best expected utility first."""
    return np.lexsort((-about.mean, np.where(np.isnan(estimates.cost), np.inf, estimates.cost)))


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
    return hashlib.blake2b(msgspec.json.encode(parts, order="deterministic"), digest_size=6).hexdigest()
