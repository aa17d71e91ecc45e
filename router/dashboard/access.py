"""Signing in with an API key that may read, and out. The browser keeps a session that leads back to no key."""

from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.dashboard.rendering import HEADERS, page
from router.dashboard.sources import Sources
from router.domain.keys import Scope
from router.errors import KeyMissing, RateExceeded, ScopeMissing
from router.services.keys import SESSION_S

READ = frozenset({Scope.READ})
COOKIE = "pointsman_session"
SIGN_IN = "/sign-in"
_LONGEST_FORM = 4_096


async def admitted(request: Request, sources: Sources) -> bool:
    """Whether the reader came with a session; False where the service needs no keys.

    Raises ``KeyMissing``, ``ScopeMissing``, ``RateExceeded``, ``HostForeign``, ``StorageUnavailable``.
    """
    session, host = request.cookies.get(COOKIE), request.headers.get("host")
    return await sources.keys.admit_session(session, READ, host=host) is not None


def to_sign_in(request: Request) -> Response:
    """To the form, and back afterwards."""
    query = f"?{request.url.query}" if request.url.query else ""
    return _to(f"{SIGN_IN}?{urlencode({'next': request.url.path + query})}")


async def form(request: Request, sources: Sources) -> Response:
    """The form, or back where no session is needed."""
    try:
        await admitted(request, sources)
    except (KeyMissing, ScopeMissing, RateExceeded):
        return page("sign_in.html", problem=None, following=_following(request.query_params.get("next")))
    return _to(_following(request.query_params.get("next")))


async def sign_in(request: Request, sources: Sources) -> Response:
    """Check a key and start a session."""
    given = await _fields(request)
    following = _following(given.get("next"))
    if not _from_here(request):
        return page("sign_in.html", 403, problem="The form came from another site. Sign in from this page.", following="/")
    try:
        session = await sources.keys.open_session(given.get("key", "").strip() or None, READ)
    except KeyMissing:
        problem = "This key is not valid: it may be mistyped, expired or revoked."
        return page("sign_in.html", 401, problem=problem, following=following)
    except ScopeMissing:
        problem = "This key may not read. Make one that may: pointsman keys create NAME --scope read"
        return page("sign_in.html", 403, problem=problem, following=following)
    except RateExceeded:
        return page("sign_in.html", 429, problem="This key is used faster than its limit. Try again in a moment.", following=following)
    answer = _to(following)
    if session is not None:
        answer.set_cookie(COOKIE, session, SESSION_S, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


async def sign_out(request: Request, _sources: Sources) -> Response:
    """Forget the session."""
    answer = _to(SIGN_IN if _from_here(request) else "/")
    if _from_here(request):
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _from_here(request: Request) -> bool:
    """Whether one of our own pages sent a form; a browser says so itself."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.url.netloc}"


def _following(address: str | None) -> str:
    """Where to go on: one of our own pages, whoever wrote the address."""
    usable = address is not None and address.startswith("/") and address.isascii() and address.isprintable()
    if address is None or not usable or address.startswith(("//", "/\\", SIGN_IN)) or "\\" in address:
        return "/"
    return address


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}


def _to(address: str) -> Response:
    return RedirectResponse(address, 303, HEADERS)
