"""``/v1/keys``: who may use the service, for what, how fast and for how much."""

import time

from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ADMIN, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import KeyIn
from router.api.services import services_of
from router.domain.keys import asked_for, shown


async def list_keys(request: Request) -> Response:
    """Every key, revoked and expired ones included: what it may do, when it ends, what was drawn of its budget in this period."""
    await allow(request, ADMIN)
    return answer({"keys": [shown(key, drawn) for key, drawn in await services_of(request).keys.listed()]})


async def get_key(request: Request, key_id: str) -> Response:
    """One key."""
    await allow(request, ADMIN)
    return answer(shown(*await services_of(request).keys.found(key_id)))


async def create_key(request: Request) -> Response:
    """Make a key and show it, this once: only its hash is kept. It works at once here, and on other services within two seconds.

    While there is none, anyone on this machine may make the first one; it needs the scope `admin`, and from then on every call needs a key.
    """
    caller = await allow(request, ADMIN)
    given = await read(request, KeyIn)
    wanted = asked_for(given.name, given.scopes, time.time(), expires=given.expires, rate=given.rate, budget_usd=given.budget_usd)
    made, token = await services_of(request).keys.create_for(caller, wanted)
    told = answer(shown(made, None if made.budget is None else 0.0) | {"key": token}, 201)
    told.headers["Cache-Control"] = "no-store"
    return told


async def revoke_key(request: Request, key_id: str) -> Response:
    """Revoke a key, for good: at once here, and on other services within two seconds. Once more changes nothing."""
    caller = await allow(request, ADMIN)
    keys = services_of(request).keys
    await keys.revoke_for(caller, key_id)
    return answer(shown(*await keys.found(key_id)))
