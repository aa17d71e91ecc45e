"""What is executed, how far it may go, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.types import Completion, CompletionRequest
from router.domain.decisions import Decision
from router.domain.events import Attempt
from router.domain.tasks import Task


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
