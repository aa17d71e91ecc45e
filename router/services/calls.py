"""What is executed, how far it may go, what comes back, and how the log keeps that."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from adapters.types import Completion, CompletionRequest
from router.domain.decisions import Decision
from router.domain.events import Attempt, CostSource, Outcome
from router.domain.tasks import Task

_ID_LENGTH = 128


@dataclass(frozen=True, slots=True)
class ExecutionRules:
    """How far one request may go."""

    max_attempts: int = 3
    retry_share: float = 0.1
    """Further attempts per request, over all traffic."""
    longest_wait_s: float = 5.0
    """A provider that asks for more is not waited for."""


@dataclass(frozen=True, slots=True)
class Call:
    """What to execute; the request's model is filled in by the decision."""

    task: Task
    request: CompletionRequest
    model: str | None = None
    """The one that the caller names."""
    may_switch: bool = True
    """Another model may answer where the first fails."""
    key_id: str | None = None
    """Whose budget pays."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The caller's trace headers."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream's first piece is there and the decision is durable."""

    decision: Decision
    model: str


@dataclass(frozen=True, slots=True)
class Served:
    """A whole answer, and what it took."""

    decision: Decision
    completion: Completion
    cost_usd: float | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A provider call that has ended, and what it was made for."""

    decision: Decision
    request: CompletionRequest
    attempt: Attempt
    completion: Completion | None
    trace: Mapping[str, str]
    """The caller's trace headers."""


def answered(attempt: Attempt, completion: Completion, cost_usd: float | None) -> Attempt:
    """The attempt with what its answer took."""
    usage = completion.usage
    return replace(
        attempt,
        latency_s=completion.latency_s,
        ttft_s=completion.ttft_s,
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        cached_input_tokens=None if usage is None else usage.cached_input_tokens,
        reasoning_tokens=None if usage is None else usage.reasoning_tokens,
        cost_usd=cost_usd,
        request_id=request_id(completion.request_id),
    )


def outcome_of(
    attempt: Attempt, at: float, *, decided: str, source: CostSource | None, images: int, completion: Completion | None = None
) -> Outcome:
    """What a request did, by its last attempt; ``decided`` is the model of its decision, ``completion`` the whole answer."""
    usage = None if completion is None else completion.usage
    return Outcome(
        decision_id=attempt.decision_id,
        status=attempt.status,
        at=at,
        model=None if attempt.model == decided else attempt.model,
        latency_s=attempt.latency_s,
        ttft_s=attempt.ttft_s,
        input_tokens=attempt.input_tokens,
        output_tokens=attempt.output_tokens,
        cost_usd=attempt.cost_usd,
        cost_source=None if attempt.cost_usd is None else source,
        cached_input_tokens=attempt.cached_input_tokens,
        cache_write_tokens=None if usage is None else usage.cache_write_tokens,
        reasoning_tokens=attempt.reasoning_tokens,
        images=images or None,
        hardware_s=None if completion is None else completion.compute_s,
    )


def request_id(told: str | None) -> str | None:
    """The provider's id of a call, as long as the log keeps it."""
    return None if told is None else told[:_ID_LENGTH]
