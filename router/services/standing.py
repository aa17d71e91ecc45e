"""Says which models a task may go to, and what is expected of each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Estimates, Offers, Preference, beliefs, estimate
from learning.distributions import ndtr
from learning.features import encode, to_bytes
from learning.policies import Beliefs
from learning.posterior import Posterior
from learning.text import TextShift
from router.domain.calling import Calling, busy
from router.domain.catalog import Catalog
from router.domain.decisions import Exclusion
from router.domain.eligibility import Forecast, Screen, within_limits
from router.domain.models import Modality, Model
from router.domain.offers import offers_of
from router.domain.routing_rules import RoutingRules
from router.domain.tasks import Task, Weights
from router.errors import NoEligibleModel, ProviderUnavailable

_TEXT_ONLY = frozenset({Modality.TEXT})


class Money(Protocol):
    """What a dollar costs in utility, on top of a request's own weight."""

    @property
    def utility_per_usd(self) -> float: ...

    def price(self, utility: FloatArray, sd: FloatArray, cost: FloatArray) -> float:
        """The same for a request that is about to be decided; see ``learning.pacing.Pacer.price``."""
        ...


@dataclass(frozen=True, slots=True)
class _View:
    """One catalogue as decisions read it; rebuilt only when the catalogue or the learner's list of models changes."""

    screen: Screen
    names: tuple[str, ...]
    offers: Offers


@dataclass(frozen=True, slots=True)
class _Prospect:
    """What is expected of the models that a decision is about."""

    estimates: Estimates
    about: Beliefs
    preference: Preference
    money: float
    """Utility per dollar that a budget adds."""
    read: "_Read | None"
    """What the task's text says of the models, where it was read."""


@dataclass(frozen=True)
class Standing:
    """The models that a decision is about, and what is expected of each: that is worked out once it is asked for."""

    features: FloatArray
    """Of the task."""
    offers: Offers
    relaxed: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    foresee: Callable[[], _Prospect]

    @property
    def estimates(self) -> Estimates:
        """In the task's own units."""
        return self._prospect.estimates

    @property
    def about(self) -> Beliefs:
        """In utility."""
        return self._prospect.about

    @property
    def preference(self) -> Preference:
        """Makes the one of the other."""
        return self._prospect.preference

    def logged(self, index: int) -> bytes:
        """The features, and behind them what the text was taken to say of the model at ``index``."""
        told = self._prospect.read
        if told is None:
            return to_bytes(self.features)
        foretold = told.shift.foretold(told.text, float(told.plain[index]), index, self.offers.models[index])
        return to_bytes(self.features) + foretold.to_bytes()

    @property
    def paced(self) -> dict[str, float]:
        """What the log keeps of the budget's part in the decision."""
        money = self._prospect.money
        return {"money": money} if money else {}

    @cached_property
    def _prospect(self) -> _Prospect:
        return self.foresee()


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


class Standings:
    """Screens a task's models and says what is expected of them. The catalogue is an immutable value that others swap."""

    def __init__(self, rules: RoutingRules, money: Money | None) -> None:
        self._rules = rules
        self.money = money
        """Keeps a budget, where there is one."""
        self._views: dict[bool, _View] = {}
        """By whether only models that can be called are eligible."""
        self.unavailable: Mapping[str, str] = {}
        """Models that cannot be called, each with the remedy."""
        self.catalog = Catalog()

    def use_catalog(self, catalog: Catalog) -> None:
        """Screen this catalogue from now on."""
        self.catalog = catalog
        self._views.clear()

    def use_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Call none of these models; each comes with the remedy."""
        self.unavailable = unavailable
        self._views.clear()

    def of(self, task: Task, posterior: Posterior, calling: Calling | None, *, deciding: bool = False) -> Standing:
        """The eligible models, or the one that the request names whatever the limits, and what is expected of them."""
        features = _features(task)
        relaxed: tuple[str, ...] = ()
        excluded: tuple[Exclusion, ...] = ()
        known: tuple[Estimates, _Read | None] | None = None
        if calling is not None and calling.model is not None:
            offers, deciding = self._named(posterior, calling, calling.model), False
        else:
            models, offers, excluded = self._able(task, posterior, calling)
            if task.limited:
                estimates, read = self._estimates(task, features, posterior, offers)
                limited = within_limits(models, task, _forecast(task, estimates))
                relaxed, excluded = limited.relaxed, excluded + limited.excluded
                if len(limited.keep) < len(models):
                    offers, estimates = offers.take(limited.keep), estimates.take(limited.keep)
                    read = None if read is None else read.take(limited.keep)
                known = estimates, read
        preference = self.preference(task.weights)

        def foresee() -> _Prospect:
            estimates, read = known or self._estimates(task, features, posterior, offers)
            return self._prospect(offers, estimates, read, preference, deciding=deciding)

        return Standing(features, offers, relaxed, excluded, foresee)

    def _able(self, task: Task, posterior: Posterior, calling: Calling | None) -> tuple[Sequence[Model], Offers, tuple[Exclusion, ...]]:
        """The models that can do a task, and those that are left out."""
        view = self._current_view(posterior, callable_only=calling is not None)
        screened = view.screen.apply(task)
        index, models, excluded = screened.index, screened.models, screened.excluded
        offers = view.offers if len(index) == len(view.offers.models) else view.offers.take(index)
        if calling is not None and calling.resting and (out := [i for i, name in enumerate(screened.ids) if name in calling.resting]):
            excluded += tuple(calling.exclusion(screened.ids[i]) for i in out)
            keep = [i for i in range(len(models)) if i not in set(out)]
            offers, models = offers.take(keep), tuple(models[i] for i in keep)
        return models, offers, excluded

    def _named(self, posterior: Posterior, calling: Calling, model_id: str) -> Offers:
        model = self.catalog.get(model_id)
        if model.retired:
            raise NoEligibleModel("this model is retired", field="model", remedy="GET /v1/models lists those in use; auto chooses one")
        if (remedy := self.unavailable.get(model_id)) is not None:
            raise ProviderUnavailable(f"the provider {model.provider} cannot be called", field="model", remedy=remedy)
        if model_id in calling.resting:
            raise busy("this model failed repeatedly and rests", calling.resting[model_id])
        return offers_of((model,), posterior)

    def _prospect(self, offers: Offers, estimates: Estimates, read: _Read | None, preference: Preference, *, deciding: bool) -> _Prospect:
        money = 0.0
        about = beliefs(offers, estimates, preference)
        if self.money is not None and len(offers.models):
            money = self.money.price(about.mean, about.sd, estimates.cost) if deciding else self.money.utility_per_usd
            if money:
                preference = replace(preference, cost_per_usd=preference.cost_per_usd + money)
                about = beliefs(offers, estimates, preference)
        return _Prospect(estimates, about, preference, money, read)

    def cost_at_most(self, task: Task, posterior: Posterior, model_id: str) -> float | None:
        """USD, one-sided 95 % of a call; None where nobody knows."""
        offers = offers_of((self.catalog.get(model_id),), posterior)
        cost = float(self._estimates(task, _features(task), posterior, offers)[0].cost_p95[0])
        return None if math.isnan(cost) else cost

    def preference(self, weights: Weights) -> Preference:
        """A request's weights in the learner's units."""
        return Preference(weights.quality, weights.cost / self._rules.cost_reference_usd, weights.latency / self._rules.latency_reference_s)

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

    def _current_view(self, posterior: Posterior, *, callable_only: bool) -> _View:
        view = self._views.get(callable_only)
        if view is None or view.names is not posterior.models:
            models = self.catalog.models
            screen = Screen(models, self.unavailable if callable_only else None)
            view = self._views[callable_only] = _View(screen, posterior.models, offers_of(models, posterior))
        return view


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
