"""``POST /v1/route``: decide which model should answer."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ROUTE, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import RouteRequest
from router.api.services import services_of
from router.api.tasks import texts_of, to_task
from router.domain.decisions import Decision, is_unlogged


async def route(request: Request) -> Response:
    """Choose a model for a task.

    The decision is in the log, with its exact propensity, before this answers. Report what the call did to `/v1/outcomes`
    and what the answer was worth to `/v1/feedback`.
    """
    await allow(request, ROUTE)
    services = services_of(request)
    wanted = await read(request, RouteRequest)
    task = to_task(wanted, services.default_weights)
    if services.texts is not None:
        task = replace(task, text=await services.texts.read(texts_of(wanted)))
    return answer(told(await services.routing.route(task)))


def told(decision: Decision) -> dict[str, Any]:
    """A decision as the caller sees it."""
    return {
        "decision_id": decision.id,
        "logged": not is_unlogged(decision.id),
        "provider": decision.model.partition("/")[0],
        "model": decision.model,
        "confidence": decision.confidence,
        "propensity": decision.propensity,
        "reason": decision.reason,
        "fallback": decision.fallback,
        "expected": decision.expected,
        "alternatives": decision.alternatives,
        "excluded": decision.excluded,
        "policy": {"name": decision.policy, "version": decision.policy_version, "seq": decision.policy_seq},
        "task_type": decision.task_type,
        "features_schema": decision.features_schema,
        "episode_id": decision.episode_id,
    }
