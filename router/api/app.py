"""The application: one table of routes, one shape of errors, the limit on bodies, and the life of the services."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from router import dashboard
from router.api import (
    budgets,
    chat,
    conversation,
    decisions,
    documentation,
    errors,
    evaluation,
    feedback,
    guide,
    health,
    incidents,
    judges,
    keys,
    metering,
    models,
    orchestrations,
    pins,
    routing,
    schemas,
)
from router.api.hot import HotApp, HotRoute
from router.api.limits import BodyLimit
from router.api.services import Services
from router.api.views.budgets import BudgetsView
from router.api.views.chat import ChatAnswer
from router.api.views.decisions import DecisionPage, DecisionView
from router.api.views.errors import ErrorAnswer
from router.api.views.feedback import ChangeAnswer, FeedbackAnswer, FeedbackResults, OutcomeAnswer, OutcomeResults
from router.api.views.health import Health, Readiness
from router.api.views.history import HistoryView
from router.api.views.incidents import IncidentList
from router.api.views.judges import JudgesAnswer
from router.api.views.keys import KeyList, KeyView, NewKeyView
from router.api.views.models import ModelHistory, ModelList, ModelView
from router.api.views.pins import LiftedPin, PinList, PinView
from router.api.views.plans import PlanAnswer
from router.api.views.policy import PolicyView
from router.api.views.routing import RouteAnswer
from router.domain.budgets import Budgets
from router.telemetry import release


@dataclass(frozen=True, slots=True)
class Address:
    """One line of the table."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    answers: type[BaseModel]
    tag: str
    body: type[BaseModel] | None = None
    many: type[BaseModel] | None = None
    """The answer to a list, where a list may be sent."""
    refusals: tuple[int, ...] = ()
    status: int = 200
    hot: bool = False


TABLE: tuple[Address, ...] = (
    Address("POST", "/v1/route", routing.route, RouteAnswer, "route", schemas.RouteRequest, refusals=(422, 503), hot=True),
    Address(
        "POST", "/v1/route/batch", orchestrations.route_batch, PlanAnswer, "route", orchestrations.OrchestrationIn,
        refusals=(404, 422, 503),
    ),
    Address(
        "POST", "/v1/chat/completions", chat.chat_completions, ChatAnswer, "call", conversation.ChatRequest,
        refusals=(422, 502, 503), hot=True,
    ),
    Address(
        "POST", "/v1/feedback", feedback.give_feedback, FeedbackAnswer, "learn", schemas.FeedbackIn,
        many=FeedbackResults, refusals=(404, 409, 422, 503), hot=True,
    ),
    Address(
        "POST", "/v1/outcomes", feedback.outcomes, OutcomeAnswer, "learn", schemas.OutcomeIn,
        many=OutcomeResults, refusals=(404, 409, 422, 503), hot=True,
    ),
    Address(
        "PUT", "/v1/feedback/{feedback_id}", feedback.correct_feedback, ChangeAnswer, "learn", schemas.FeedbackCorrection,
        refusals=(404, 422, 503), hot=True,
    ),
    Address("DELETE", "/v1/feedback/{feedback_id}", feedback.retract_feedback, ChangeAnswer, "learn", refusals=(404, 503), hot=True),
    Address("GET", "/v1/policy", decisions.get_policy, PolicyView, "read"),
    Address("GET", "/v1/policy/{task_type}", decisions.get_task_policy, PolicyView, "read", refusals=(422,)),
    Address(
        "POST", "/v1/evaluate", evaluation.evaluate, evaluation.ComparisonView, "read", evaluation.CandidateIn, refusals=(404, 422, 503),
    ),
    Address(
        "POST", "/v1/whatif", evaluation.what_if, evaluation.ComparisonView, "read", evaluation.CandidateIn, refusals=(404, 422, 503),
    ),
    Address("GET", "/v1/guide", guide.get_guide, guide.GuideView, "read", refusals=(422, 503)),
    Address("GET", "/v1/rules", guide.get_rules, guide.RulesView, "read", refusals=(422, 503)),
    Address("GET", "/v1/incidents", incidents.list_incidents, IncidentList, "read"),
    Address("GET", "/v1/judges", judges.list_judges, JudgesAnswer, "read", refusals=(422, 503)),
    Address("GET", "/v1/lift", evaluation.lift, evaluation.LiftView, "read", refusals=(422, 503)),
    Address("GET", "/v1/exploration", evaluation.exploration, evaluation.ExplorationView, "read", refusals=(422, 503)),
    Address("GET", "/v1/history/{task_type}", decisions.get_history, HistoryView, "read", refusals=(422, 503)),
    Address("GET", "/v1/decisions", decisions.list_decisions, DecisionPage, "read", refusals=(422, 503)),
    Address("GET", "/v1/decisions/{decision_id}", decisions.get_decision, DecisionView, "read", refusals=(404, 503)),
    Address("GET", "/v1/models", models.list_models, ModelList, "catalogue", refusals=(422,)),
    Address("POST", "/v1/models", models.add_model, ModelView, "catalogue", schemas.ModelIn, refusals=(409, 422, 503), status=201),
    Address("GET", "/v1/models/{model_id:path}", models.get_model, ModelHistory, "catalogue", refusals=(404, 503)),
    Address(
        "PATCH", "/v1/models/{model_id:path}", models.change_model, ModelView, "catalogue", schemas.ModelChange,
        refusals=(404, 422, 503),
    ),
    Address("DELETE", "/v1/models/{model_id:path}", models.retire_model, ModelView, "catalogue", refusals=(404, 422, 503)),
    Address("GET", "/v1/keys", keys.list_keys, KeyList, "admin", refusals=(503,)),
    Address("POST", "/v1/keys", keys.create_key, NewKeyView, "admin", schemas.KeyIn, refusals=(409, 422, 503), status=201),
    Address("GET", "/v1/keys/{key_id}", keys.get_key, KeyView, "admin", refusals=(404, 503)),
    Address("DELETE", "/v1/keys/{key_id}", keys.revoke_key, KeyView, "admin", refusals=(404, 422, 503)),
    Address("GET", "/v1/budgets", budgets.get_budgets, BudgetsView, "admin", refusals=(503,)),
    Address("PATCH", "/v1/budgets", budgets.change_budgets, BudgetsView, "admin", schemas.BudgetChange, refusals=(422, 503)),
    Address("GET", "/v1/pins", pins.list_pins, PinList, "admin", refusals=(503,)),
    Address("PUT", "/v1/pins/{task_type:path}", pins.pin, PinView, "admin", schemas.PinIn, refusals=(422, 503)),
    Address("DELETE", "/v1/pins/{task_type:path}", pins.lift_pin, LiftedPin, "admin", refusals=(404, 422, 503)),
    Address("GET", "/healthz", health.healthz, Health, "health"),
    Address("GET", "/readyz", health.readyz, Readiness, "health", refusals=(503,)),
)  # fmt: skip


_TITLE = "Pointsman"


def _described() -> FastAPI:
    """The same addresses with all that is told of them: an application that is read and never served.

    Working out what answers look like takes as long as the rest of the application, and only a reader of the documentation needs it.
    """
    app = FastAPI(title=_TITLE, version=release(), description=documentation.DESCRIPTION, openapi_tags=documentation.TAGS)
    for address in sorted(TABLE, key=lambda address: not address.hot):
        app.router.add_api_route(
            address.path,
            address.endpoint,
            methods=[address.method],
            status_code=address.status,
            tags=[address.tag],
            response_model=None,
            responses=_responses(address),
            openapi_extra=documentation.body(address.path, address.method, address.body, many=address.many is not None),
            route_class_override=HotRoute if address.hot else APIRoute,
        )
    return app


def create_app(services: Services) -> FastAPI:
    """The HTTP application over built services; they start and close with it."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await services.start()
            yield
        finally:
            await services.close()

    app = HotApp(title=_TITLE, version=release(), lifespan=life, redirect_slashes=False)
    app.state.services = services
    for address in TABLE:
        app.router.add_api_route(
            address.path,
            address.endpoint,
            methods=[address.method],
            response_model=None,  # answers are written as bytes; nothing is checked twice
            route_class_override=HotRoute if address.hot else APIRoute,
        )
    if services.metrics is not None:
        app.router.add_route("/metrics", metering.metrics, include_in_schema=False)
    app.router.routes.extend(dashboard.routes(_shown(services)))
    app.router.routes.sort(key=lambda route: not isinstance(route, HotRoute))  # matching walks the list
    documentation.install(app, _described, [address.body for address in TABLE if address.body is not None])
    errors.install(app)
    limit = BodyLimit, {"max_bytes": services.settings.max_body_bytes, "receipt_s": services.settings.body_receipt_s}
    metered = [(metering.Metered, {"requested": services.metrics.requested})] if services.metrics is not None else []
    app.lay(limit, *metered)
    return app


def _shown(services: Services) -> dashboard.Sources:
    return dashboard.Sources(
        store=services.store,
        training=services.training,
        catalog=lambda: services.models.catalog,
        keys=services.keys,
        weights=services.default_weights,
        counted=lambda: services.tallying.seq if services.tallying is not None else 0,
        clock=time.time,
        readback=services.readback,
        day=lambda: services.spending.day if services.spending is not None else None,
        limits=lambda: services.budgets.limits if services.budgets is not None else Budgets(),
        status_of=errors.status_of,
        evaluation=services.evaluation,
        audit=services.audit,
        history=services.history,
        lift=services.lift,
        baseline=services.settings.baseline_model if services.settings.holdback_share else None,
    )


def _responses(address: Address) -> dict[int | str, dict[str, Any]]:
    shown: dict[int | str, dict[str, Any]] = {
        address.status: {"model": address.answers if address.many is None else address.answers | address.many}
    }
    if address.many is not None:
        shown[207] = {"model": address.many, "description": "Some items of the list were refused"}
    refusals = (*address.refusals, 400, 408, 413, 415) if address.body is not None else address.refusals
    refusals = refusals if address.tag == "health" else (*refusals, 401, 403, 429, 503)
    return shown | {status: {"model": ErrorAnswer} for status in sorted({*refusals})}
