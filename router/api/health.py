"""``/healthz`` and ``/readyz``: is the process alive, and can it decide and keep what it decides."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from router.api.hot import answer
from router.api.services import services_of


async def healthz(_request: Request) -> Response:
    """The process answers."""
    return answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """The database answers and the policy is loaded; 503 where not."""
    services = services_of(request)
    await asyncio.to_thread(services.store.check)
    catalog = services.models.catalog
    return answer(
        {
            "status": "ready",
            "seq": services.training.seq,
            "lag": services.training.lag,
            "leads": services.leads(),
            "lag_s": round(services.training.lag_s, 3),
            "digest": services.training.digest,
            "schema_revision": services.schema_revision,
            "durability": "none" if services.settings.in_memory else services.settings.durability,
            "writer": {"waiting": services.writer.waiting, "max": services.settings.write_queue_max},
            "catalog": {"version": catalog.version, "active_models": len(catalog.active)},
        }
    )
