"""Decisions, outcomes, feedback and models to rows and back."""

from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import msgspec
from sqlalchemy import Row

from router.domain.decisions import Decision, Exclusion, Expected
from router.domain.events import Attempt, CostSource, Outcome, Status
from router.domain.models import Model
from router.storage.revisions import Revision

_UNITS = 2**24
"""Propensities are whole multiples of 1 / _UNITS, so their numerators are exact."""

ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt) if field.name != "decision_id")

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
read_request = msgspec.json.Decoder(dict[str, Any]).decode
"""What a decision was asked, from its column."""
_read_names = msgspec.json.Decoder(tuple[str, ...]).decode
_read_numerators = msgspec.json.Decoder(tuple[int, ...]).decode
_read_tags = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_read_excluded = msgspec.json.Decoder(tuple[Exclusion, ...]).decode
_read_expected = msgspec.json.Decoder(Expected).decode
_read_model = msgspec.json.Decoder(Model).decode
_read_others = msgspec.json.Decoder(list[tuple[str | float | None, ...]]).decode


def decision_row(seq: int, decision: Decision) -> dict[str, Any]:
    """The row of a decision; what is recomputed on demand (``alternatives``) is left out.

    Raises ``ValueError`` where a propensity is not a multiple of 2**-24.
    """
    numerators = _numerators(decision.propensities)
    (numerator,) = _numerators((decision.propensity,))
    return {
        "seq": seq,
        "id": decision.id,
        "at": decision.at,
        "task_type": decision.task_type,
        "features_schema": decision.features_schema,
        "features": decision.features,
        "request": _encode(decision.request).decode(),
        "eligible": _encode(decision.eligible).decode(),
        "propensities_q24": _encode(numerators).decode(),
        "model": decision.model,
        "propensity_q24": numerator,
        "confidence": decision.confidence,
        "reason": decision.reason,
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "policy_seq": decision.policy_seq,
        "catalog_version": decision.catalog_version,
        "fallback": decision.fallback,
        "forced": decision.forced,
        "episode_id": decision.episode_id,
        "tags": _encode(decision.tags).decode(),
        "excluded": _encode(decision.excluded).decode(),
        "expected": None if decision.expected is None else _encode(decision.expected).decode(),
    }


def _numerators(propensities: Sequence[float]) -> list[int]:
    numerators = [int(p * _UNITS) for p in propensities]
    if [n / _UNITS for n in numerators] != [*propensities]:
        raise ValueError("a propensity is not a multiple of 2**-24; quantise before drawing")
    return numerators


def read_decision(row: Row[Any] | SimpleNamespace) -> Decision:
    """A decision from its row."""
    return Decision(
        id=row.id,
        at=row.at,
        task_type=row.task_type,
        features_schema=row.features_schema,
        features=row.features,
        request=read_request(row.request),
        eligible=_read_names(row.eligible),
        propensities=tuple([n / _UNITS for n in _read_numerators(row.propensities_q24)]),
        model=row.model,
        propensity=row.propensity_q24 / _UNITS,
        confidence=row.confidence,
        reason=row.reason,
        policy=row.policy,
        policy_version=row.policy_version,
        policy_seq=row.policy_seq,
        catalog_version=row.catalog_version,
        fallback=row.fallback,
        forced=row.forced,
        episode_id=row.episode_id,
        tags=_read_tags(row.tags),
        excluded=_read_excluded(row.excluded),
        expected=None if row.expected is None else _read_expected(row.expected),
    )


def attempt_row(seq: int, decision_seq: int, attempt: Attempt) -> dict[str, Any]:
    """The row of an attempt."""
    values = {name: getattr(attempt, name) for name in ATTEMPT_FIELDS}
    return {"seq": seq, "decision_seq": decision_seq, **values, "status": attempt.status.value}


def read_attempt(row: Row[Any], decision_id: str) -> Attempt:
    """An attempt from its row."""
    values = {name: getattr(row, name) for name in ATTEMPT_FIELDS}
    return Attempt(decision_id=decision_id, **{**values, "status": Status(row.status)})


def outcome_row(seq: int, decision_seq: int, outcome: Outcome) -> dict[str, Any]:
    """The row of an outcome."""
    return {
        "seq": seq,
        "decision_seq": decision_seq,
        "status": outcome.status.value,
        "at": outcome.at,
        "model": outcome.model,
        "latency_s": outcome.latency_s,
        "ttft_s": outcome.ttft_s,
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "cost_usd": outcome.cost_usd,
        "cost_source": None if outcome.cost_source is None else outcome.cost_source.value,
        "cached_input_tokens": outcome.cached_input_tokens,
        "cache_write_tokens": outcome.cache_write_tokens,
        "reasoning_tokens": outcome.reasoning_tokens,
        "images": outcome.images,
        "hardware_s": outcome.hardware_s,
    }


def read_outcome(row: Row[Any], decision_id: str) -> Outcome:
    """An outcome from its row."""
    return Outcome(
        decision_id=decision_id,
        status=Status(row.status),
        at=row.at,
        model=row.model,
        latency_s=row.latency_s,
        ttft_s=row.ttft_s,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_usd,
        cost_source=None if row.cost_source is None else CostSource(row.cost_source),
        cached_input_tokens=row.cached_input_tokens,
        cache_write_tokens=row.cache_write_tokens,
        reasoning_tokens=row.reasoning_tokens,
        images=row.images,
        hardware_s=row.hardware_s,
    )


def revision_row(revision: Revision) -> dict[str, Any]:
    """The row of a feedback revision."""
    before_score, before_weight = revision.before or (None, None)
    return {
        "seq": revision.seq,
        "feedback_id": revision.feedback_id,
        "revision": revision.revision,
        "decision_seq": revision.decision_seq,
        "judge": revision.judge,
        "metric": revision.metric,
        "score": revision.score,
        "weight": revision.weight,
        "at": revision.at,
        "model": revision.model,
        "before_score": before_score,
        "before_weight": before_weight,
        "others": _encode(revision.others).decode(),
        "idempotency_key": revision.idempotency_key,
        "comment": revision.comment,
        "source": revision.source or "",
        "cost_usd": revision.cost_usd,
        "sampling": revision.sampling,
    }


def read_revision(row: Row[Any]) -> Revision:
    """A feedback revision from its row."""
    return Revision(
        seq=row.seq,
        decision_seq=row.decision_seq,
        feedback_id=row.feedback_id,
        revision=row.revision,
        judge=row.judge,
        metric=row.metric,
        score=row.score,
        weight=row.weight,
        at=row.at,
        model=row.model,
        before=None if row.before_score is None else (row.before_score, row.before_weight),
        others=tuple(read_others(row.others)),
        idempotency_key=row.idempotency_key,
        comment=row.comment,
        source=row.source or None,
        cost_usd=row.cost_usd,
        sampling=row.sampling,
    )


def model_facts(model: Model) -> str:
    """A version of a model as JSON, the same text for the same facts."""
    return _encode_sorted(model).decode()


def read_model(facts: str) -> Model:
    """A version of a model from its JSON."""
    return _read_model(facts)


def read_others(text: str) -> list[tuple[str, str, float, float, str | None]]:
    """A decision's other active scores from their JSON: judge, metric, score, weight, source."""
    return [_other(*other) for other in _read_others(text)]


def _other(judge: Any, metric: Any, score: Any, weight: Any, source: Any = None) -> tuple[str, str, float, float, str | None]:
    """One of a decision's other scores; the first release did not write who sent it."""
    return judge, metric, score, weight, source
