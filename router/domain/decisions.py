"""A logged choice, and what is said about it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A posterior mean with its 90 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What a model is expected to do on this task. Cost is None where the price is unknown and none was observed."""

    quality: Estimate
    cost_usd: Estimate | None
    latency_s: Estimate | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model that was left out, and why: a machine-readable code and a sentence."""

    model: str
    code: str
    """retired, not_allowed, excluded, provider_not_allowed, provider_unavailable, modality, capability, context_window, circuit_open,
    max_cost, price_unknown, max_latency, min_quality"""
    reason: str


@dataclass(frozen=True, slots=True)
class Alternative:
    """An eligible model that was not drawn."""

    model: str
    expected: Expected
    utility: float
    propensity: float
    probability_best: float
    flip: str
    """What would have made this model the choice."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One draw from the policy: everything needed to recompute it and to evaluate other policies on the log.

    ``eligible`` is ordered by model id; ``propensities[i]`` belongs to ``eligible[i]`` and is a multiple of 2**-24.
    """

    id: str
    at: float
    """Unix time in seconds."""
    task_type: str
    features_schema: int
    features: bytes
    """float32 little-endian, as encoded under ``features_schema``."""
    request: dict[str, Any]
    """Limits, weights and needs of the task: numbers and identifiers only, never text of the caller's prompt."""
    eligible: tuple[str, ...]
    propensities: tuple[float, ...]
    model: str
    propensity: float
    confidence: float
    """Probability of being the best eligible model under the posterior."""
    reason: str
    policy: str
    policy_version: str
    """Hyper-parameters and catalogue the policy was built from, as a short hash."""
    policy_seq: int
    """Log position of the learned state the decision was taken with."""
    catalog_version: str
    fallback: bool = False
    forced: bool = False
    """True: not drawn by the policy (fallback, battery, import); never used in propensity-weighted estimates."""
    episode_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    """For the answer only; recomputed from the log on demand, not stored."""
    expected: Expected | None = None
    """Stored as numbers so that a report needs no refold."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model that is decided on: it can be called before the decision is described."""

    model: str
    described: Callable[[], Decision]
    """The decision as it is logged."""


_UNLOGGED = "unlogged_"


def unlogged(decision: Decision) -> Decision:
    """A decision that the log did not take; its id says so wherever it turns up."""
    return replace(decision, id=_UNLOGGED + decision.id.rpartition("_")[2])


def is_unlogged(decision_id: str) -> bool:
    """Whether an id is that of a decision that the log did not take."""
    return decision_id.startswith(_UNLOGGED)


IMPORTED = "imported"
"""Policy of what another gateway decided before: it teaches, and is no traffic and no spending of ours."""


def imported_id(gateway: str, call_id: str) -> str:
    """The id of another gateway's call: the same however often it is imported."""
    key = "\x00".join((gateway, call_id)).encode(errors="surrogatepass")
    return f"{IMPORTED}_{blake2b(key, digest_size=16).hexdigest()}"


def is_imported(decision_id: str) -> bool:
    """Whether an id is that of another gateway's call."""
    return decision_id.startswith(f"{IMPORTED}_")
