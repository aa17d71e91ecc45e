"""The service as it is built for production, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services


@asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """A client of it, and its parts."""
    services = await bootstrap.build(settings)
    app = create_app(services)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, services
