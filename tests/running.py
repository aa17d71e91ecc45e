"""The service as it is built for production, in the test's own process."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest

from router import bootstrap, config, parts
from router.api.app import create_app
from router.api.services import Services
from router.domain.tallies import DAY_S


@asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """A client of it, and its parts."""
    services = await bootstrap.build(settings)
    app = create_app(services)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, services


def begin_at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """For services that count by days: none that is built from now on sees the end of one."""
    began = time.monotonic()
    clock = SimpleNamespace(time=lambda: 20_000.5 * DAY_S + time.monotonic() - began, monotonic=time.monotonic)
    for module in (bootstrap, parts):
        monkeypatch.setattr(module, "time", clock)
