"""Finds the model that answers where none is eligible."""

import math
from collections.abc import Mapping

from router.domain.calling import Calling, busy, remedies
from router.domain.catalog import Catalog
from router.domain.decisions import Exclusion
from router.domain.eligibility import unlisted
from router.domain.models import Model
from router.domain.prices import token_rates
from router.domain.tasks import Task
from router.errors import NoEligibleModel, ProviderUnavailable


def fallback_model(
    task: Task,
    excluded: tuple[Exclusion, ...],
    calling: Calling | None,
    catalog: Catalog,
    unavailable: Mapping[str, str],
    configured: str | None,
) -> Model:
    """The configured model, else the active one that reads the task's input, has the widest window and the lowest price.

    Limits on cost, latency, quality and abilities are given up for it, the request's own lists of models and providers never: they say
    who may see the task. Raises ``ProviderUnavailable``, ``AllModelsBusy``, ``NoEligibleModel`` where none may answer.
    """
    if calling is not None and not any(model.id not in unavailable for model in catalog.active):
        raise ProviderUnavailable("no provider can be called", field="model", remedy=remedies(unavailable.values()))
    if not task.allow_fallback:
        if calling is not None and any(exclusion.code == "circuit_open" for exclusion in excluded):
            raise busy("the models that the request allows failed repeatedly and rest", min(calling.resting.values()))
        raise NoEligibleModel(
            f"no model is eligible: {tally(excluded)}",
            field="constraints",
            remedy="relax the limit that excludes most, or allow the fallback model with allow_fallback = true",
        )
    if not catalog.active:
        raise NoEligibleModel("the catalogue has no active model", field="models", remedy="add one with POST /v1/models")
    active = tuple(model for model in catalog.active if unlisted(model, task.constraints) is None)
    if not active:
        raise NoEligibleModel(
            f"no model is eligible, nor may a fallback answer: {tally(excluded)}",
            field="constraints",
            remedy="allow another model or provider, or exclude fewer",
        )
    if calling is not None:
        callable_ = tuple(model for model in active if model.id not in unavailable)
        if not callable_:
            told = remedies(unavailable[model.id] for model in active)
            raise ProviderUnavailable("no model that the request allows can be called", field="constraints", remedy=told)
        active = tuple(model for model in callable_ if model.id not in calling.resting)
        if not active:
            waits = min(calling.resting[model.id] for model in callable_)
            raise busy("every model that the request allows and that can be called failed repeatedly and rests", waits)
    found = next((model for model in active if model.id == configured), None)
    if found is not None:
        return found

    def rank(model: Model) -> tuple[bool, bool, float, str]:
        price = math.inf if (rates := token_rates(model.price)) is None else sum(rates)
        return (not task.modalities <= model.modalities, model.context_window < task.context_tokens, price, model.id)

    return min(active, key=rank)


def tally(excluded: tuple[Exclusion, ...]) -> str:
    """How many models each reason left out, in words."""
    counts: dict[str, int] = {}
    for exclusion in excluded:
        counts[exclusion.code] = counts.get(exclusion.code, 0) + 1
    return ", ".join(f"{code} left out {n}" for code, n in sorted(counts.items(), key=lambda item: -item[1])) or "the catalogue is empty"
