"""``POST /v1/evaluate`` and ``POST /v1/whatif``: what another policy, weights, prices or models would have meant, from the log."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import READ, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import Body, ModelId, Name, Share, Usd, Weights
from router.api.services import Services, services_of
from router.domain import tasks
from router.domain.candidates import Candidate
from router.domain.evaluation import Comparison
from router.domain.recall import Scope
from router.errors import StorageUnavailable
from router.services.evaluation import EvaluationService


class IntervalView(BaseModel):
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float


class SupportView(BaseModel):
    """What the log holds about the candidate."""

    decisions: int
    observed: int = Field(description="Decisions with this quantity reported.")
    effective: float = Field(description="As many equally weighted outcomes as tell as much; below 30 nothing is claimed.")
    largest_share: float = Field(description="Of all weight, on one decision.")
    largest_weight: float
    mean_weight: float = Field(description="1 in expectation, where the logged probabilities are right.")
    matched: float = Field(description="Share of the decisions whose model the candidate might have chosen as well.")
    unsupported: float = Field(description="Share of the candidate's choices that the log could never have drawn.")
    doubts: tuple[str, ...]


class ValueView(BaseModel):
    """One quantity per decision, as it was and as it would be; null where the log cannot tell."""

    now: IntervalView | None
    then: IntervalView | None
    difference: IntervalView | None = Field(description="Paired: then less now.")
    difference_any_time: IntervalView | None = Field(description="The same, valid however often one looks.")
    estimators: dict[str, float | None] = Field(description="Other estimates of `then`, for sensitivity; clipped ones are biased.")
    support: SupportView


class TrafficView(BaseModel):
    """Share of the decisions that a model gets."""

    model: str
    now: float
    then: IntervalView


class ComparisonView(BaseModel):
    """A candidate against what was done."""

    candidate: str
    verdict: Literal["better", "worse", "no difference shown", "cannot tell"] = Field(description="Of utility, at 95 %.")
    doubts: tuple[str, ...]
    decisions: int
    not_drawn: int = Field(description="Fallbacks and other forced decisions among those looked at; no estimate uses them.")
    since: float | None
    until: float | None
    utility: ValueView | None
    quality: ValueView | None
    cost_usd: ValueView | None
    latency_s: ValueView | None
    traffic: tuple[TrafficView, ...]


class GainView(BaseModel):
    """One quantity per decision in both arms."""

    routed: float | None
    baseline: float | None
    lift: IntervalView | None = Field(description="Routed less baseline, 95 % at any time; null where there is too little to say.")
    units: tuple[int, int] = Field(description="Routed and held-back units with this quantity.")


class LiftView(BaseModel):
    """The holdback experiment so far."""

    share: float | None
    units: tuple[int, int] = Field(description="Routed and held back: episodes, and decisions outside any.")
    decisions: tuple[int, int]
    ratio_evidence: float | None = Field(description="Base-10 logarithm of the evidence against the split that was set.")
    doubts: tuple[str, ...]
    quality: GainView
    cost_usd: GainView
    latency_s: GainView
    utility: GainView
    saved_usd: IntervalView | None = Field(description="By all routed decisions together.")
    since: float | None
    until: float | None


class LossView(BaseModel):
    """Given up per decision, and in total; positive where the choice was worse."""

    utility: float
    quality: float
    cost_usd: float
    latency_s: float
    total_utility: float
    total_quality: float
    total_usd: float


class ExplorationView(BaseModel):
    """What learning cost."""

    decisions: int
    explored: float
    then: LossView | None
    now: LossView | None


MAX_LAST = 50_000
Models = Annotated[dict[ModelId, Share], Field(max_length=1000)]


class TokenPrice(Body):
    """USD per million tokens."""

    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd


class CandidateIn(Body):
    """What would be different. At most one of `policy`, `model` and `rules`; whatever is left out stays as it was at each decision."""

    policy: Name | None = Field(default=None, description="A registered policy; it decides from what was known then.")
    parameters: Annotated[dict[Name, float], Field(max_length=50)] = Field(default={}, description="Of the policy.")
    model: ModelId | None = Field(default=None, description="This one for everything.")
    rules: Annotated[dict[Name, ModelId], Field(max_length=1000)] | None = Field(
        default=None, description="The model of each task type; other types are drawn as they were."
    )
    weights: Weights | None = Field(default=None, description="Of every request.")
    prices: Annotated[dict[ModelId, TokenPrice], Field(max_length=1000)] = Field(default={})
    without: Annotated[frozenset[ModelId], Field(max_length=1000)] = Field(default=frozenset(), description="Models that are dropped.")
    caps: Models = Field(default={}, description="Largest share of the traffic, by model.")
    last: Annotated[int, Field(ge=2, le=MAX_LAST)] = Field(default=2_000, description="Decisions to look at, from the end of the log.")
    task_type: Name | None = Field(default=None, description="Only decisions of this type.")
    since: Annotated[float, Field(ge=0, le=1e12)] | None = Field(default=None, description="Unix time; only decisions from then on.")


def candidate_of(given: CandidateIn, default: tasks.Weights) -> Candidate:
    """The candidate that a request describes; weights it leaves out are the service's."""
    weights = given.weights
    return Candidate(
        policy=given.policy,
        parameters=given.parameters,
        model=given.model,
        rules=given.rules,
        weights=None
        if weights is None
        else tasks.Weights(
            default.quality if weights.quality is None else weights.quality,
            default.cost if weights.cost is None else weights.cost,
            default.latency if weights.latency is None else weights.latency,
        ),
        prices={model: (price.input_usd_per_mtok, price.output_usd_per_mtok) for model, price in given.prices.items()},
        without=given.without,
        caps=given.caps,
    )


def scope_of(given: CandidateIn) -> Scope:
    """The decisions that a request asks about."""
    return Scope(last=given.last, task_type=given.task_type, since=given.since)


async def evaluate(request: Request) -> Response:
    """What the decisions of the log would have been worth, had the candidate drawn them: doubly robust estimates with 95 % intervals.

    `verdict` is `cannot tell`, and the figures are null, where the log holds too little about the candidate; `doubts` says why.
    """
    return await _compared(request, EvaluationService.evaluate)


async def what_if(request: Request) -> Response:
    """Before you save a change: the traffic, quality, cost and latency to expect of as many decisions to come as were looked at.

    The intervals of quality, cost and latency hold together, with 95 %, what those decisions will show, if they are like the ones of
    the log: their outcomes' own noise and the motion of what is learned are in them. `cannot tell` as for `/v1/evaluate`.
    """
    return await _compared(request, EvaluationService.what_if)


async def lift(
    request: Request,
    last: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    since: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    task_type: Annotated[Name | None, Query()] = None,
) -> Response:
    """What routing gains over the held-back baseline, 95 % intervals that hold at any time, from the randomised holdback.

    `ratio_evidence` above 2 says that the split is not the one that was set: then trust nothing here.
    """
    await allow(request, READ)
    service = services_of(request).lift
    if service is None:
        raise _no_log()
    return answer(await _asked(services_of(request), partial(service.lift, last=last, since=since, task_type=task_type)))


async def exploration(
    request: Request,
    last: Annotated[int, Query(ge=1, le=MAX_LAST)] = 2_000,
    since: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    task_type: Annotated[Name | None, Query()] = None,
) -> Response:
    """What learning cost: drawn choices against the best by what was believed then (exploring) and is believed now (regret)."""
    await allow(request, READ)
    service = services_of(request).evaluation
    if service is None:
        raise _no_log()
    return answer(await _asked(services_of(request), partial(service.exploration, Scope(last, task_type, since))))


async def _asked(services: Services, question: Callable[[], object]) -> object:
    return await asyncio.get_running_loop().run_in_executor(services.readback, question)


def _no_log() -> StorageUnavailable:
    return StorageUnavailable("this service keeps no log to read back", remedy="ask the one that does")


async def _compared(request: Request, kind: Callable[[EvaluationService, Candidate, Scope], Comparison]) -> Response:
    await allow(request, READ)
    services = services_of(request)
    given = await read(request, CandidateIn)
    if services.evaluation is None:
        raise _no_log()
    asked = partial(kind, services.evaluation, candidate_of(given, services.default_weights), scope_of(given))
    return answer(await _asked(services, asked))
