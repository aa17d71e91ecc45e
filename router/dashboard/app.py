"""The table of pages, who may see them, and how a refusal looks to a reader."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.dashboard import access, assets, budgets, decisions, incidents, judges, overview, preferences, whatif
from router.dashboard.rendering import page, told
from router.dashboard.sources import Learned, Sources
from router.errors import KeyMissing, RouterError

Page = Callable[[Request, Sources, Learned], Awaitable[tuple[str, dict[str, Any]]]]

PAGES: tuple[tuple[str, str, Page], ...] = (
    ("/", "overview", overview.overview),
    ("/preferences", "preferences", preferences.preferences),
    ("/preferences/history", "preferences", preferences.history),
    ("/decisions", "decisions", decisions.decisions),
    ("/decisions/{decision_id}", "decisions", decisions.decision),
    ("/decisions/{decision_id}/recomputed", "decisions", decisions.recomputed),
    ("/savings", "savings", whatif.savings),
    ("/what-if", "what-if", whatif.what_if),
    ("/incidents", "incidents", incidents.incidents),
    ("/judges", "judges", judges.judges),
    ("/judges/measured", "judges", judges.measured),
    ("/budgets", "budgets", budgets.budgets),
)
"""Address, entry of the navigation, what makes the page."""


def routes(sources: Sources) -> list[Route]:
    """Every address of the dashboard."""
    learned = Learned(sources.training, sources.clock)
    made = [Route(path, _shown(place, make, sources, learned), name=f"{make.__module__}.{make.__name__}") for path, place, make in PAGES]

    async def pulse(request: Request) -> Response:
        """How far the log is counted and learned: pages ask before they reload themselves."""
        try:
            await access.admitted(request, sources)
        except RouterError as exc:
            return told({"error": exc.message}, sources.status_of(exc))
        return told({"beat": sources.beat})

    async def form(request: Request) -> Response:
        return await access.form(request, sources)

    async def sign_in(request: Request) -> Response:
        return await access.sign_in(request, sources)

    async def sign_out(request: Request) -> Response:
        return await access.sign_out(request, sources)

    return [
        *made,
        Route("/dashboard/pulse", pulse),
        Route(f"{assets.PATH}/{{name}}", assets.send),
        Route(access.SIGN_IN, form, methods=["GET"]),
        Route(access.SIGN_IN, sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]


def _shown(place: str, make: Page, sources: Sources, learned: Learned) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        signed_in = False
        try:
            signed_in = await access.admitted(request, sources)
            beat = sources.beat
            template, values = await make(request, sources, learned)
        except KeyMissing:
            return access.to_sign_in(request)
        except RouterError as exc:
            status = sources.status_of(exc)
            return page("error.html", status, place=place, signed_in=signed_in, code=status, message=exc.message, remedy=exc.remedy)
        return page(template, place=place, signed_in=signed_in, beat=beat, lag=sources.training.lag, **values)

    return endpoint
