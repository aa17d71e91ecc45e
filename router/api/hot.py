"""Routes that skip the framework: they read and write bytes, and no layer of it stands between them and the server."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from learning.errors import LearningError
from router.api.errors import error_response, gone, unexpected
from router.errors import RouterError

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
"""Reads a request and returns its answer."""

_encoder = msgspec.json.Encoder()


class HotRoute(APIRoute):
    """An ``async def endpoint(request) -> answer`` that is documented like any other route and called directly.

    Dependencies declared on the application do not run here: whatever must hold, the endpoint checks itself.
    """

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            try:
                response: ASGIApp = await endpoint(request)
            except (RouterError, LearningError) as exc:
                response = error_response(exc)
            except ClientDisconnect:
                response = await gone()
            except Exception as exc:
                await (await unexpected(request, exc))(scope, receive, send)
                raise
            try:
                await response(scope, receive, send)
            except Exception as exc:
                await unexpected(request, exc)  # the answer has begun: nobody can be told, but it is logged
                raise

        self.app = app


class HotApp(FastAPI):
    """Answers its hot routes at once, within ``layers`` alone, and everything else as FastAPI does, within them too."""

    def lay(self, *layers: tuple[Callable[..., ASGIApp], dict[str, Any]]) -> None:
        """Put middleware around all routes, the first innermost; once, after the routes are there."""
        directly: ASGIApp = _directly
        for layer, options in layers:
            self.add_middleware(layer, **options)
            directly = layer(directly, **options)
        self._directly = directly
        hot = [route for route in self.router.routes if isinstance(route, HotRoute) and not route.param_convertors]
        self._hot = {(method, route.path): route for route in hot for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._hot.get((scope["method"], scope["path"])) if scope["type"] == "http" and not scope.get("root_path") else None
        if route is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"], scope["route"] = self, route
        await self._directly(scope, receive, send)


async def _directly(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["route"].app(scope, receive, send)


def answer(value: Any, status_code: int = 200) -> Response:
    """A value of dataclasses, dicts and lists as JSON; NaN and infinity become null."""
    return Response(_encoder.encode(value), status_code=status_code, media_type="application/json")
