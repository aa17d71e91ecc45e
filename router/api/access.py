"""Who may use which endpoint. Every endpoint but those of ``health`` begins with ``await allow(...)``."""

from starlette.requests import Request

from router.api.services import services_of
from router.domain.keys import Scope

ROUTE = frozenset({Scope.ROUTE})
CHAT = frozenset({Scope.CHAT})
FEEDBACK = frozenset({Scope.FEEDBACK})
READ = frozenset({Scope.READ})
ADMIN = frozenset({Scope.ADMIN})
WATCHED = frozenset({Scope.READ, Scope.ADMIN})
"""Whoever may set it may read it, too."""
CATALOGUE = frozenset({Scope.READ, Scope.ROUTE, Scope.CHAT, Scope.ADMIN})
"""Whoever may choose a model may see which there are."""

_SCHEME = b"bearer "


async def allow(request: Request, scopes: frozenset[Scope]) -> str | None:
    """The id of the caller's API key, which has one of the scopes; None where the service needs no keys.

    Raises ``KeyMissing``, ``ScopeMissing``, ``RateExceeded``, ``HostForeign``, ``StorageUnavailable``.
    """
    token = host = None
    for name, value in request.scope["headers"]:  # a token from there and nowhere else: addresses end up in logs and histories
        if name == b"host":
            host = str(value, "latin-1")
        elif name == b"authorization" and value[: len(_SCHEME)].lower() == _SCHEME:
            token = str(value[len(_SCHEME) :].strip(), "latin-1")
    return await services_of(request).keys.admit(token, scopes, host=host)
