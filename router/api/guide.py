"""``/v1/guide`` and ``/v1/rules``: which model for which task, measured, inferred or unknown, and the rules that follow."""

import time
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import READ, allow
from router.api.hot import answer
from router.api.schemas import Name
from router.api.services import services_of
from router.domain.guide import Guide
from router.domain.guide_text import markdown
from router.domain.rulebook import rulebook
from router.errors import StorageUnavailable


class GuideView(BaseModel, extra="allow"):
    """The model selection guide."""

    seq: int = Field(description="Log position up to which the figures count.")
    digest: str
    weights: dict[str, float]
    scores: int
    task_types: list[dict[str, object]] = Field(
        description="With the recommended model and a cell per model: measured, inferred, unknown or skipped."
    )
    next_tests: list[dict[str, object]] = Field(description="What 20 more cases would be worth, and cost.")


class RulesView(BaseModel, extra="allow"):
    """The rules that emerged, and those that are pinned."""

    format: int
    seq: int
    rules: dict[str, dict[str, object]] = Field(description="By task type: primary, alternatives, intervals, evidence, what would flip it.")
    pinned: dict[str, dict[str, object]] = Field(description="Task types whose model a pin decides, with its hash; `/v1/pins` says whose.")


async def get_guide(request: Request, format: Annotated[Literal["json", "markdown"], Query()] = "json") -> Response:  # noqa: A002
    """Recommended models per task type with measured quality, speed and cost, sample counts and intervals; and the test that tells most.

    Every measured figure comes with the query that lists its rows in the log.
    """
    await allow(request, READ)
    found = await _guide(request)
    if format == "markdown":
        text = markdown(found, time.time(), {})
        return Response(text, media_type="text/markdown; charset=utf-8")
    return answer(found)


async def get_rules(request: Request, baseline: Annotated[Name | None, Query()] = None) -> Response:
    """The rules that the evidence supports now, beside a baseline model, and the pinned ones that are followed instead."""
    await allow(request, READ)
    pins = services_of(request).pins
    told = {} if pins is None else {name: {"models": one.models, "sha256": one.sha256} for name, one in pins.pinned.items()}
    chosen = baseline or services_of(request).settings.baseline_model
    return answer(rulebook(await _guide(request), chosen) | {"pinned": told})


async def _guide(request: Request) -> Guide:
    service = services_of(request).guide
    if service is None:
        raise StorageUnavailable("this service keeps no guide", remedy="ask one that learns")
    return await service.guide()
