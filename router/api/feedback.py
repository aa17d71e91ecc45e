"""``/v1/outcomes`` and ``/v1/feedback``: what a call did, and what its answer was worth."""

import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router.api.access import FEEDBACK, allow
from router.api.errors import error_body, status_of
from router.api.hot import answer
from router.api.reading import OneOrMany, idempotency_key, read
from router.api.schemas import FeedbackCorrection, FeedbackIn, OutcomeIn
from router.api.services import services_of
from router.domain.events import Committed, CostSource, Outcome, Status
from router.errors import FeedbackNotFound, RouterError
from router.services.feedback import Opinion, Recorded, Refused

_OUTCOMES = OneOrMany(OutcomeIn)
_FEEDBACK = OneOrMany(FeedbackIn)
_MAX_ID = 128


async def outcomes(request: Request) -> Response:
    """Report what calls did, one object or a list.

    One outcome per decision; the same again is acknowledged and changes nothing. In a list each item is decided by itself:
    207 says that some were refused.
    """
    await allow(request, FEEDBACK)
    items, many = await _OUTCOMES.read(request)
    services = services_of(request)
    for item in items:
        if item.model is not None:
            await services.models.find(item.model)  # a model nobody knows would be learned about under a wrong name
    results = await services.feedback.observe([_outcome(item) for item in items])
    told = [
        (i, result if isinstance(result, RouterError) else _acknowledged(item.decision_id, result))
        for i, (item, result) in enumerate(zip(items, results, strict=True))
    ]
    return _told(told, asked_many=many, tell_many=many)


async def give_feedback(request: Request) -> Response:
    """Score decisions, one object or a list, at any time after the decision.

    Idempotent: the `Idempotency-Key` header, or decision + judge + metric, names the score. The same score again is
    acknowledged; another one is a 409 whose remedy names the feedback to `PUT`. In a list each item is decided by itself:
    207 says that some were refused.
    """
    source = await allow(request, FEEDBACK)
    items, many = await _FEEDBACK.read(request)
    results = await services_of(request).feedback.record(
        [_opinion(item) for item in items], idempotency_key=idempotency_key(request), source=source
    )
    told = [(result.item, result.error if isinstance(result, Refused) else _recorded(result)) for result in results]
    spread = items[0].episode_id is not None or items[0].preferred_over is not None
    return _told(told, asked_many=many, tell_many=many or spread)


async def correct_feedback(request: Request) -> Response:
    """Replace a score. What was learned becomes exactly what it would be had the new score been the first."""
    await allow(request, FEEDBACK)
    correction = await read(request, FeedbackCorrection)
    verdict = str(correction.verdict) if correction.verdict is not None else None
    feedback = services_of(request).feedback
    committed = await feedback.correct(_id(request), score=correction.score, verdict=verdict, comment=correction.comment)
    return answer(_changed(committed))


async def retract_feedback(request: Request) -> Response:
    """Take a score back. What was learned becomes exactly what it would be without it."""
    await allow(request, FEEDBACK)
    return answer(_changed(await services_of(request).feedback.retract(_id(request))))


def _id(request: Request) -> str:
    given: str = request.path_params["feedback_id"]
    if len(given) > _MAX_ID or not given.isascii() or not given.isprintable():
        raise FeedbackNotFound("no feedback has this id", field="id", remedy="send the id that the feedback was acknowledged with")
    return given


def _outcome(item: OutcomeIn) -> Outcome:
    return Outcome(
        decision_id=item.decision_id,
        status=Status(item.status),
        at=time.time(),
        model=item.model,
        latency_s=item.latency_s,
        ttft_s=item.ttft_s,
        input_tokens=item.input_tokens,
        output_tokens=item.output_tokens,
        cost_usd=item.cost_usd,
        cost_source=None if item.cost_usd is None else CostSource.REPORTED,
    )


def _opinion(item: FeedbackIn) -> Opinion:
    return Opinion(
        decision_id=item.decision_id,
        episode_id=item.episode_id,
        score=item.score,
        verdict=item.verdict.value if item.verdict is not None else None,
        preferred_over=item.preferred_over,
        judge=item.judge,
        metric=item.metric,
        comment=item.comment,
    )


def _recorded(recorded: Recorded) -> dict[str, Any]:
    committed = recorded.committed
    return {"feedback_id": committed.id, "decision_id": recorded.decision_id, **_position(committed)}


def _changed(committed: Committed) -> dict[str, Any]:
    return {"feedback_id": committed.id, **_position(committed)}


def _acknowledged(decision_id: str, committed: Committed) -> dict[str, Any]:
    return {"decision_id": decision_id, "seq": committed.seq, "repeated": committed.repeated}


def _position(committed: Committed) -> dict[str, Any]:
    return {"seq": committed.seq, "revision": committed.revision, "repeated": committed.repeated}


def _told(results: Sequence[tuple[int, dict[str, Any] | RouterError]], *, asked_many: bool, tell_many: bool) -> Response:
    """Each item's result; refused as a whole where nothing of it was taken."""
    refused = [(item, result) for item, result in results if isinstance(result, RouterError)]
    if len(refused) == len(results):
        item, error = refused[0]
        if asked_many and error.field:
            error.field = f"[{item}].{error.field}"
        raise error
    if not tell_many:
        return answer(results[0][1])
    return answer({"results": [_item(item, result) for item, result in results]}, 207 if refused else 200)


def _item(item: int, result: dict[str, Any] | RouterError) -> dict[str, Any]:
    if isinstance(result, RouterError):
        return {"item": item, "status": status_of(result), "error": error_body(result)}
    return {"item": item, **result}
