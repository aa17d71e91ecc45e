"""Which status each refusal gets, and the one shape in which every refusal is told."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from learning import errors as learning
from router import errors
from router.api.refusals import described
from router.telemetry import places


class RequestInvalid(errors.RouterError):
    """A field of a body, path or query cannot be used."""


class BodyUnreadable(errors.RouterError):
    """The body is not JSON."""


class BodyTooLarge(errors.RouterError):
    """The body exceeds the limit."""


class BodyTooSlow(errors.RouterError):
    """The body did not arrive in time."""


class ContentTypeUnsupported(errors.RouterError):
    """The body is not declared as JSON."""


class PathUnknown(errors.RouterError):
    """Nothing answers at this address."""


class MethodUnsupported(errors.RouterError):
    """The address does not answer this method."""


STATUS: dict[type[Exception], int] = {
    errors.RouterError: 409,
    errors.ConfigurationInvalid: 422,  # of a request only where it names a setting, such as a policy's parameter
    errors.TaskInvalid: 422,
    errors.NoEligibleModel: 422,
    errors.ProviderUnavailable: 503,
    errors.RequestRefused: 400,
    errors.AllModelsFailed: 502,
    errors.AllModelsBusy: 503,
    errors.DecisionNotFound: 404,
    errors.DecisionUnlogged: 409,
    errors.FeedbackNotFound: 404,
    errors.FeedbackConflict: 409,
    errors.OutcomeConflict: 409,
    errors.ModelNotFound: 404,
    errors.ModelConflict: 409,
    errors.JudgeUnavailable: 503,
    errors.PlanInfeasible: 422,
    errors.KeyMissing: 401,
    errors.ScopeMissing: 403,
    errors.HostForeign: 403,
    errors.RateExceeded: 429,
    errors.BudgetExhausted: 429,
    errors.CostUnknown: 422,
    errors.KeyNotFound: 404,
    errors.KeyConflict: 409,
    errors.PinNotFound: 404,
    errors.Overloaded: 503,
    errors.StorageUnavailable: 503,
    errors.SchemaTooNew: 503,
    RequestInvalid: 422,
    BodyTooSlow: 408,
    BodyUnreadable: 400,
    BodyTooLarge: 413,
    ContentTypeUnsupported: 415,
    PathUnknown: 404,
    MethodUnsupported: 405,
    learning.LearningError: 422,
    learning.InvalidContext: 422,
    learning.UnknownModel: 404,
    learning.IncompatibleState: 503,
}
"""Every refusal the service knows; a test fails where one has no line here."""

_RETRY_AFTER_S: dict[type[Exception], float] = {errors.Overloaded: 1.0, errors.StorageUnavailable: 5.0}
"""Where the error does not say it itself."""

_HEADERS: dict[type[Exception], dict[str, str]] = {
    errors.KeyMissing: {"WWW-Authenticate": "Bearer"},
    BodyTooSlow: {"Connection": "close"},  # the rest of the body would be read as the next request
}

_REMEDIES: dict[type[Exception], str] = {
    learning.InvalidContext: "send finite numbers in the documented ranges",
    learning.UnknownModel: "GET /v1/models lists the ids",
    learning.IncompatibleState: "let the service relearn from its log: remove the stored snapshots and restart it",
}


def status_of(exc: Exception) -> int:
    """The HTTP status of a refusal: that of its class or of the nearest class above it."""
    return next((STATUS[cls] for cls in type(exc).__mro__ if cls in STATUS), 500)


def error_body(exc: Exception) -> dict[str, Any]:
    """``{type, message, field, remedy}``."""
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(exc).__name__).lstrip("_")
    if isinstance(exc, errors.RouterError):
        return {"type": name, "message": exc.message, "field": exc.field, "remedy": exc.remedy}
    # The learner's messages quote values of the request; its class says enough here.
    message = (type(exc).__doc__ or "").split("\n")[0]
    return {"type": name, "message": message, "field": None, "remedy": _REMEDIES.get(type(exc))}


def error_response(exc: Exception) -> Response:
    """The answer to a refusal."""
    body = msgspec.json.encode({"error": error_body(exc)})
    return Response(body, status_code=status_of(exc), headers=error_headers(exc), media_type="application/json")


def error_headers(exc: Exception) -> dict[str, str]:
    """What the answer to a refusal says beside its body, such as when to come back."""
    wait_s = getattr(exc, "retry_after_s", None) or _RETRY_AFTER_S.get(type(exc))
    headers = {"Retry-After": str(math.ceil(wait_s))} if wait_s else {}
    return headers | _HEADERS.get(type(exc), {})


def invalid(details: Sequence[Any]) -> errors.RouterError:
    """The first of pydantic's complaints as a refusal that leaves the input out."""
    fault = described(details)
    if fault.unreadable:
        return BodyUnreadable("the body is not JSON that can be read", field="body", remedy=fault.remedy)
    return RequestInvalid(fault.message, field=fault.field, remedy=fault.remedy)


async def _refused(_request: Request, exc: Exception) -> Response:
    return error_response(exc)


async def _not_valid(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    return error_response(invalid(exc.errors()))


async def _by_framework(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (exc.headers or {}).get("Allow", "")
        refusal = MethodUnsupported("this address does not answer this method", field="method", remedy=f"use {allowed}; see /docs")
        response = error_response(refusal)
        response.headers["Allow"] = allowed
        return response
    if exc.status_code == HTTPStatus.NOT_FOUND:
        return error_response(PathUnknown("nothing answers at this address", field="path", remedy="see /docs for the addresses"))
    return _plain(exc.status_code, "http_error", HTTPStatus(exc.status_code).phrase, "see /docs")


async def gone(*_: object) -> Response:
    """The answer to a caller who hung up: nobody reads it."""
    return Response(status_code=499)


async def unexpected(request: Request, exc: Exception) -> Response:
    """The answer to a failure of ours, which is logged without the request's content."""
    structlog.get_logger().error(
        "request.failed", method=request.method, error=type(exc).__name__, where=places(exc.__traceback__), route=_template(request)
    )
    return _plain(500, "internal_error", "the service failed on this request", "report it with the time of the call")


def _plain(status: int, name: str, message: str, remedy: str) -> Response:
    body = {"error": {"type": name, "message": message, "field": None, "remedy": remedy}}
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _template(request: Request) -> str | None:
    return getattr(request.scope.get("route"), "path", None)


def install(app: FastAPI) -> None:
    """Give the application one answer to each kind of failure."""
    app.add_exception_handler(errors.RouterError, _refused)
    app.add_exception_handler(learning.LearningError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)
