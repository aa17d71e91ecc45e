"""The append-only log: what is asked to be written, what was written, and what the learner reads back in order.

Everything that is acknowledged gets a strictly increasing ``seq`` in commit order, shared by all kinds of record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router.domain.decisions import Decision
from router.domain.models import Model


class Status(StrEnum):
    """How a call ended. Failures feed reliability and never quality."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """By the caller: says nothing about the model."""
    REJECTED = "rejected"
    """The request itself was refused: says nothing about the model either."""


class CostSource(StrEnum):
    """Where the cost of a call comes from."""

    REPORTED = "reported"
    """The provider or the caller said it: never recomputed."""
    COMPUTED = "computed"
    """Tokens times the price in force."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one request did. One per decision."""

    decision_id: str
    status: Status
    at: float
    model: str | None = None
    """The model that served, where it differs from the decision's."""
    latency_s: float | None = None
    ttft_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    cost_source: CostSource | None = None
    cached_input_tokens: int | None = None
    """Part of the input tokens, as are those that wrote the cache."""
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Part of the output tokens."""
    images: int | None = None
    hardware_s: float | None = None
    """Seconds of the machine, where the provider bills by them."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One provider call that the service made for a decision."""

    decision_id: str
    number: int
    """From 1, in the order in which they were made."""
    model: str
    status: Status
    at: float
    """When it was sent."""
    forced: bool = False
    """True: the model was not drawn for it, as in every attempt after the first."""
    last: bool = True
    """The outcome tells what this one did."""
    error: str | None = None
    """Name of the failure's class."""
    http_status: int | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    estimated: bool = False
    """True: the provider never told the usage, and the tokens are our count of what was sent and received."""
    request_id: str | None = None
    """The provider's."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A score someone gave a decision. ``score`` in [0, 1]. Natural key: decision + judge + metric."""

    id: str
    """Made by the service; kept through corrections."""
    decision_id: str
    judge: str
    metric: str
    score: float
    at: float
    idempotency_key: str | None = None
    comment: str | None = None
    """Only ever set where the operator opted in to keeping text."""
    source: str | None = None
    """Id of the API key that sent it."""
    weight: float = 1.0
    """1 for a score of this answer; smaller for weaker evidence, e.g. a preference between two answers."""
    cost_usd: float | None = None
    """What judging cost; None: unknown, or nobody was paid."""
    sampling: float | None = None
    """Probability with which this answer was drawn to be judged; None: nobody drew it."""


@dataclass(frozen=True, slots=True)
class FeedbackChange:
    """A correction (new score) or a retraction (``score`` None) of feedback ``id``."""

    id: str
    score: float | None
    at: float
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class CostChange:
    """A correction of what a decision's call cost, computed anew; None = unknown. A reported cost is never corrected."""

    decision_id: str
    cost_usd: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Regime:
    """What decisions are taken by from here on, whole, so that any of them can be recomputed: the catalogue and the policy's settings."""

    catalog_version: str
    policy_version: str
    policy: dict[str, Any]
    """Every setting that a decision depends on, by name; ``policy_version`` is its hash. No secret is among them."""
    models: tuple[Model, ...]
    """The catalogue, in id order."""
    at: float


Write = Decision | Attempt | Outcome | CostChange | Feedback | FeedbackChange | Regime


@dataclass(frozen=True, slots=True)
class Committed:
    """The durable result of one write."""

    seq: int
    """Log position of the record. For a repeated write, that of the first one."""
    id: str
    revision: int = 1
    """Of feedback: 1, then one more for every change."""
    repeated: bool = False
    """True: the same write had been acknowledged before and nothing new was written."""

    @property
    def logged(self) -> bool:
        """False: the log was away, and whoever asked goes on without it."""
        return self.seq > 0


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit added to the log."""

    first: int
    last: int
    """Log positions."""
    evidence: bool
    """False: decisions only, nothing to learn from."""


def group_of(writes: Sequence[Write], results: Sequence[Committed | Exception]) -> Group | None:
    """What a commit of ``writes`` with these ``results`` added; None where it added nothing."""
    both = zip(writes, results, strict=True)
    added = [(result.seq, write) for write, result in both if isinstance(result, Committed) and not result.repeated]
    if not added:
        return None
    return Group(added[0][0], added[-1][0], evidence=any(not isinstance(write, Decision) for _, write in added))


@dataclass(frozen=True, slots=True)
class News:
    """What is heard of a log that several services write to: a group that was committed, or how things stand."""

    seq: int
    """The last committed position."""
    group: Group | None = None
    catalogue: int = 0
    """Grows with every change of the catalogue; 0 with a group, which does not say."""
    restarted: bool = False
    """The database server was started anew since the last news."""
    folded: int = 0
    """What was folded here before that was looked up: a log that ends before it went back. What was folded since says nothing."""


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """A decision in the log."""

    seq: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class AttemptEvent:
    """A provider call in the log."""

    seq: int
    decision_seq: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class OutcomeEvent:
    """An outcome in the log, with what the fold needs of its decision, so that the fold never looks anything up."""

    seq: int
    decision_seq: int
    task_type: str
    model: str
    """The model that served."""
    features_schema: int
    features: bytes
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """A change of the scores of one decision: all active scores before and after it, by (judge, metric).

    A first score has it only in ``after``; a correction in both; a retraction only in ``before``.
    Values are ``(score, weight)``. Folding ``after`` and unfolding ``before`` is exact.
    """

    seq: int
    decision_seq: int
    decision_id: str
    feedback_id: str
    revision: int
    task_type: str
    model: str
    """The model that served (the outcome's where one is recorded, else the decision's)."""
    features_schema: int
    features: bytes
    judge: str
    metric: str
    before: dict[tuple[str, str], tuple[float, float]]
    after: dict[tuple[str, str], tuple[float, float]]
    at: float
    source: str | None = None
    """Id of the API key that sent this one."""
    sources: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """The same of every score in ``before`` and ``after``."""
    cost_usd: float | None = None
    """What judging cost."""
    sampling: float | None = None
    """Probability with which the answer was drawn to be judged."""


@dataclass(frozen=True, slots=True)
class CostEvent:
    """A change of the cost of one call. Folding ``after_usd`` and unfolding ``before_usd`` is exact; None was never folded."""

    seq: int
    decision_seq: int
    decision_id: str
    task_type: str
    model: str
    """The model that served."""
    features_schema: int
    features: bytes
    status: Status
    """Of the outcome: only a call that went well is evidence of cost."""
    before_usd: float | None
    after_usd: float | None
    at: float


@dataclass(frozen=True, slots=True)
class ArrivalEvent:
    """A model became known: what the log before this position holds, it was not there to learn from."""

    seq: int
    model: str


@dataclass(frozen=True, slots=True)
class RegimeEvent:
    """A regime in the log. The learner knows the catalogue's models from its position on, so that every fold knows them at the same one."""

    seq: int
    regime: Regime


Evidence = AttemptEvent | OutcomeEvent | CostEvent | FeedbackEvent | ArrivalEvent | RegimeEvent
"""What may teach, and what says of whom."""
LogEvent = DecisionEvent | Evidence


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A cached fold: learned state up to ``seq``."""

    seq: int
    features_schema: int
    digest: str
    state: bytes
    at: float


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as the log tells it: the choice, what happened, and every revision of its feedback."""

    seq: int
    decision: Decision
    outcome: Outcome | None
    feedback: tuple[dict[str, Any], ...]
    """Each {id, seq, revision, judge, metric, score (None = retracted), weight, at}, oldest first."""
    attempts: tuple[Attempt, ...] = ()
    """The provider calls, where the service made them."""
