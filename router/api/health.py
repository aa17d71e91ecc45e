"""``/healthz`` and ``/readyz``: is the process alive, and can it decide and keep what it decides."""

import asyncio
from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from router.api.hot import answer
from router.api.services import services_of
from router.errors import StorageUnavailable


async def healthz(_request: Request) -> Response:
    """The process answers."""
    return answer({"status": "ok"})


_WITHIN_S = 3.0
"""Who asks whether a service is ready does not wait long."""


async def readyz(request: Request) -> Response:
    """The database answers and the policy is loaded; 503 where not, unless decisions are taken without the log.

    A part that fails beside requests degrades the service and does not stop it: what it decides by may be out of date.
    """
    services = services_of(request)
    status = "ready"
    try:
        await asyncio.wait_for(asyncio.to_thread(services.store.check), _WITHIN_S)
    except (StorageUnavailable, TimeoutError) as exc:
        if not services.bears_outage():
            if isinstance(exc, StorageUnavailable):
                raise
            raise StorageUnavailable("the database does not answer", remedy="retry after a moment", retry_after_s=1.0) from exc
        status = "degraded"
    failing = [(follower, follower.trouble) for follower in services.followers if follower.trouble is not None]
    catalog = services.models.catalog
    return answer(
        {
            "status": "degraded" if failing else status,
            "seq": services.training.seq,
            "lag": services.training.lag,
            "leads": services.leads(),
            "lag_s": round(services.training.lag_s, 3),
            "digest": services.training.digest,
            "schema_revision": services.schema_revision,
            "durability": "none" if services.settings.in_memory else services.settings.durability,
            "writer": {"waiting": services.writer.waiting, "max": services.settings.write_queue_max},
            "set_aside": Counter(record.kind for record in services.training.set_aside),
            "failing": [
                {"part": follower.name, "error": trouble.error, "times": trouble.times, "for_s": round(follower.troubled_for_s(), 3)}
                for follower, trouble in failing
            ],
            "catalog": {"version": catalog.version, "active_models": len(catalog.active)},
        }
    )
