"""Counts every request, and ``/metrics`` tells Prometheus what was counted."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.api.access import READ, allow
from router.api.services import services_of

KIND = "text/plain; version=0.0.4; charset=utf-8"
UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metered:
    """Pure ASGI: costs some microseconds a request."""

    def __init__(self, app: ASGIApp, requested: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.requested = requested

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            method = scope["method"]
            self.requested(_template(scope), method if method in _METHODS else "other", status, time.perf_counter() - begun)


def _template(scope: Scope) -> str:
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return "dashboard" if "endpoint" in scope else UNMATCHED


async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format. Where keys are configured, give Prometheus one that may read."""
    await allow(request, READ)
    services = services_of(request)
    if services.metrics is None:
        raise AssertionError("there is no such route where nothing is counted")
    keys, drawn = await services.keys.known(), await services.keys.drawn_usd()
    return Response(services.metrics.exposition(keys, drawn, time.time()), headers={"Content-Type": KIND})
