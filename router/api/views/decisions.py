"""Decisions as the log tells them."""

from typing import Any, Literal

from pydantic import Field

from router.api.views.audits import AuditView
from router.api.views.chat import AttemptTold
from router.api.views.routing import Chosen
from router.api.views.view import View


class Eligible(View):
    """An eligible model and the probability it was drawn with."""

    model: str
    propensity: float


class OutcomeView(View):
    """What the call did."""

    decision_id: str
    status: str
    at: float
    model: str | None
    latency_s: float | None
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None = Field(description="With every correction.")
    cost_source: Literal["reported", "computed"] | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    images: int | None
    hardware_s: float | None


class AttemptView(AttemptTold):
    """One provider call, as the log tells it."""

    decision_id: str
    number: int
    at: float
    last: bool
    http_status: int | None
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    estimated: bool = Field(description="true: our own count, since the provider never told.")
    request_id: str | None


class ScoreView(View):
    """One revision of a score; null = retracted."""

    id: str
    seq: int
    revision: int
    judge: str
    metric: str
    score: float | None
    weight: float
    at: float
    cost_usd: float | None = Field(description="Of judging.")
    sampling: float | None = Field(description="Probability with which the answer was drawn to be judged; null where nobody drew.")


class DecisionView(Chosen):
    """A decision as the log tells it."""

    seq: int
    at: float = Field(description="Unix time in seconds.")
    forced: bool
    request: dict[str, Any]
    tags: dict[str, str]
    features: list[float]
    eligible: list[Eligible]
    catalog_version: str
    outcome: OutcomeView | None
    attempts: list[AttemptView]
    feedback: list[ScoreView]
    recomputed: AuditView | None = Field(default=None, description="Of one decision, unless `recompute=false`.")


class DecisionPage(View):
    """A page of decisions, newest first."""

    decisions: list[DecisionView]
    next_before_seq: int | None
