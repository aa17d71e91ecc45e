"""``GET /v1/judges``: who scores answers, and how far that can be relied on."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import READ, allow
from router.api.hot import answer
from router.api.services import services_of
from router.services.judge_report import WINDOW, judge_report


async def list_judges(request: Request, window: Annotated[int, Query(ge=1, le=10_000_000)] = WINDOW) -> Response:
    """The judges over the latest `window` positions of the log: how many scores, at what cost, how far they agree with each other, how
    often the order of two answers changed their mind, whether they have moved, and what the learner makes of them beside a trusted judge.

    `online` tells of the judging in the background since the service started; null where no answers are judged.
    """
    await allow(request, READ)
    services = services_of(request)
    voices = services.training.voices
    report = await asyncio.to_thread(judge_report, services.store, dict(voices.calibrations), voices.trusts, window)
    judging = services.judging
    online = None
    if judging is not None:
        rules = judging.rules
        online = {"share": rules.share, "models": rules.models, "budget_usd_per_day": rules.budget_usd_per_day, **asdict(judging.tally)}
    return answer(asdict(report) | {"online": online})
