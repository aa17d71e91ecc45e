"""What a decision was asked, and what came of it, read back from the log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learning.foretold import text_of
from router.domain.calling import Calling
from router.domain.decisions import IMPORTED, Decision
from router.domain.episodes import Last
from router.domain.events import Attempt, DecisionRecord, Status
from router.domain.evidence import QUALITY_METRIC
from router.domain.failures import spent_on
from router.domain.models import Capability, Modality, Price
from router.domain.prices import billed, cost_of
from router.domain.tasks import Constraints, Speed, Task, Weights

_NO_ANSWER = frozenset({Status.CANCELLED, Status.REJECTED})
NOT_DRAWN = frozenset({"named", "episode", "fallback", "battery", "holdback", "pinned", "plan", "budget", IMPORTED})
"""Kinds of decisions that no policy drew, by what stands in place of its name."""


def task_of(decision: Decision) -> Task:
    """The task as the decision saw it."""
    asked: Mapping[str, Any] = decision.request
    return Task(
        task_type=decision.task_type,
        context_tokens=asked["context_tokens"],
        expected_output_tokens=asked.get("expected_output_tokens"),
        max_output_tokens=asked.get("max_output_tokens"),
        needs=frozenset(Capability(name) for name in asked.get("needs", ())),
        modalities=frozenset(Modality(name) for name in asked.get("modalities", ("text",))),
        speed=None if asked.get("speed") is None else Speed(asked["speed"]),
        constraints=Constraints(
            max_cost_usd=asked.get("max_cost_usd"),
            max_latency_s=asked.get("max_latency_s"),
            min_quality=asked.get("min_quality"),
            models=None if asked.get("models") is None else frozenset(asked["models"]),
            exclude=frozenset(asked.get("exclude", ())),
            providers=None if asked.get("providers") is None else frozenset(asked["providers"]),
        ),
        weights=weights_of(decision),
        policy=None if decision.policy in NOT_DRAWN else decision.policy,
        explore=asked.get("explore", True),
        episode_id=decision.episode_id,
        tags=decision.tags,
        type_confidence=asked.get("type_confidence", 1.0),
        text=text_of(decision.features),
    )


def weights_of(decision: Decision) -> Weights:
    """What the request valued."""
    return Weights(*decision.request["weights"])


def money_of(decision: Decision) -> float:
    """Utility that a budget made a dollar cost, on top of what the request valued."""
    return float(decision.request.get("money", 0.0))


def calling_of(decision: Decision) -> Calling:
    """What could be called then, and what the request or its episode had settled."""
    resting = {e.model: 0.0 for e in decision.excluded if e.code == "circuit_open"}
    named = decision.model if decision.policy == "named" else None
    kept = decision.request.get("kept")
    last = None if kept is None else Last(decision.model, decision.at, kept["cached_tokens"])
    return Calling(resting, named, last)


def unavailable_of(decision: Decision) -> dict[str, str]:
    """The models whose provider could not be called then."""
    return {e.model: "" for e in decision.excluded if e.code == "provider_unavailable"}


LAST = 2_000
"""Decisions that are looked at unless another number is asked for."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which decisions are looked at: the last ones of the log that a policy drew."""

    last: int = LAST
    task_type: str | None = None
    since: float | None = None
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one decision brought; None where it is not known."""

    quality: float | None
    """A failed call was worth nothing to whoever waited for it."""
    cost_usd: float | None
    """Of all its calls."""
    latency_s: float | None
    failed: bool | None
    sampling: float | None = None
    """Probability with which the answer was drawn to be scored, where all who scored it say."""


def result_of(record: DecisionRecord, price: Price | None = None) -> Result:
    """What came of a decision; with ``price``, its last call is costed by that."""
    outcome = record.outcome
    if outcome is None:
        return ended(None, None, None, record.feedback, record.attempts)
    cost = outcome.cost_usd if price is None else cost_of(price, billed(outcome))
    return ended(outcome.status, cost, outcome.latency_s, record.feedback, record.attempts)


def ended(
    status: Status | None, cost: float | None, latency_s: float | None, feedback: Sequence[Mapping[str, Any]], attempts: Sequence[Attempt]
) -> Result:
    """The same from what matters of the outcome; ``status`` None: there is none. ``cost`` in USD, of the last call."""
    scored = score_of(feedback)
    if status is None:
        return Result(scored, None, None, None)
    if status in _NO_ANSWER:
        return Result(None, None, None, None)
    failed = status is not Status.OK
    if not attempts:
        return Result(0.0 if failed else scored, cost, None if failed else latency_s, failed, _sampling(feedback))
    if cost is None:
        cost = next((spent_on(attempt) for attempt in attempts if attempt.last), None)
    costs = [cost, *(spent_on(attempt) for attempt in attempts if not attempt.last)]
    total = None if None in costs else sum(usd for usd in costs if usd is not None)
    return Result(0.0 if failed else scored, total, None if failed else latency_s, failed, _sampling(feedback))


def _sampling(feedback: Sequence[Mapping[str, Any]]) -> float | None:
    told = [entry.get("sampling") for entry in feedback if entry["metric"] == QUALITY_METRIC]
    known = [sampling for sampling in told if sampling is not None]
    return max(known) if known and len(known) == len(told) else None


def score_of(feedback: Sequence[Mapping[str, Any]]) -> float | None:
    """The weighted mean of the quality scores in force, as they were given; None where there is none."""
    if not feedback:
        return None
    latest = {f["judge"]: (f["score"], f["weight"]) for f in feedback if f["metric"] == QUALITY_METRIC}  # the last revision counts
    scores = [(score, weight) for score, weight in latest.values() if score is not None]
    total = math.fsum(weight for _, weight in scores)
    return math.fsum(score * weight for score, weight in scores) / total if total > 0 else None
