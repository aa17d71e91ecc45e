"""``/v1/decisions`` and ``/v1/policy``: why a model was chosen, and what has been learned."""

import asyncio
import struct
from functools import partial
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from learning.features import N_FEATURES
from router.api.access import READ, allow
from router.api.hot import answer
from router.api.routing import told
from router.api.schemas import DecisionFilter, Name
from router.api.services import services_of
from router.domain.decisions import is_unlogged
from router.domain.events import DecisionRecord
from router.errors import DecisionNotFound, DecisionUnlogged, StorageUnavailable

_MAX_ID = 128
_MOST_FOLDED = 200_000
"""Log records that are folded beside requests, for one answer."""


async def list_decisions(request: Request, chosen: Annotated[DecisionFilter, Query()]) -> Response:
    """Decisions, newest first. Pass `next_before_seq` as `before_seq` for the page that follows."""
    await allow(request, READ)
    found = await asyncio.to_thread(
        services_of(request).store.decisions,
        before_seq=chosen.before_seq,
        limit=chosen.limit,
        task_type=chosen.task_type,
        model=chosen.model,
        episode_id=chosen.episode_id,
    )
    following = found[-1].seq if len(found) == chosen.limit else None
    return answer({"decisions": [recounted(record) for record in found], "next_before_seq": following})


async def get_decision(
    request: Request,
    decision_id: str,
    recompute: Annotated[bool, Query(description="Fold the log up to it and take the decision once more.")] = True,
) -> Response:
    """One decision: the eligible models with their propensities, why the others were not eligible, what happened, and every score.

    `recomputed` is the same decision taken again from the log: `exact` says whether every bit came out the same, `models` what was
    expected of each model then and which draws would have chosen it, `alternatives` what would have made each of them the first.
    """
    await allow(request, READ)
    if is_unlogged(decision_id):
        raise DecisionUnlogged("this decision is not in the log", field="decision_id", remedy="the log was away when it was taken")
    usable = len(decision_id) <= _MAX_ID and decision_id.isascii() and decision_id.isprintable()
    record = await asyncio.to_thread(services_of(request).store.decision, decision_id) if usable else None
    if record is None:
        raise DecisionNotFound("no decision has this id", field="decision_id", remedy="send the decision_id of a routing answer")
    told = recounted(record)
    if recompute and (audit := services_of(request).audit) is not None:
        asked = partial(audit.recompute, record, _MOST_FOLDED)
        told["recomputed"] = await asyncio.get_running_loop().run_in_executor(services_of(request).readback, asked)
    return answer(told)


async def get_history(request: Request, task_type: Annotated[Name, Path()], points: Annotated[int, Query(ge=2, le=200)] = 30) -> Response:
    """How the preferences on a task type moved over the log, and which evidence moved them."""
    await allow(request, READ)
    services = services_of(request)
    if services.history is None:
        raise StorageUnavailable("this service keeps no log to read back", remedy="ask the one that does")
    if (last := await asyncio.to_thread(services.store.last_seq)) > _MOST_FOLDED:
        raise StorageUnavailable(
            f"the log has {last:,} records, more than the {_MOST_FOLDED:,} that are folded beside requests",
            remedy="run 'pointsman history TASK_TYPE'",
        )
    asked = partial(services.history.history, task_type, points)
    return answer(await asyncio.get_running_loop().run_in_executor(services.readback, asked))


async def get_policy(request: Request) -> Response:
    """What has been learned for every task type: expected quality, cost and latency per model, and the recommendation."""
    await allow(request, READ)
    return answer(services_of(request).training.report())


async def get_task_policy(request: Request, task_type: Annotated[Name, Path()]) -> Response:
    """What has been learned for one task type; one never seen before is told from the pooled prior."""
    await allow(request, READ)
    return answer(services_of(request).training.report(task_type))


def recounted(record: DecisionRecord) -> dict[str, Any]:
    """A decision as the log tells it."""
    decision = record.decision
    answered = told(decision)
    del answered["alternatives"]  # not stored: the propensities tell them apart
    return answered | {
        "seq": record.seq,
        "at": decision.at,
        "forced": decision.forced,
        "request": decision.request,
        "tags": dict(decision.tags),
        "features": struct.unpack_from(f"<{min(len(decision.features) // 4, N_FEATURES)}f", decision.features),  # behind them is the text
        "eligible": [{"model": m, "propensity": p} for m, p in zip(decision.eligible, decision.propensities, strict=True)],
        "catalog_version": decision.catalog_version,
        "outcome": record.outcome,
        "attempts": record.attempts,
        "feedback": record.feedback,
    }
