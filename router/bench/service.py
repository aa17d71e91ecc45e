"""The service on a temporary database, as the settings say, without what would reach beyond this machine or end a measurement early."""

import os
import platform
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from time import time
from typing import Any

from router import bootstrap, telemetry
from router.api.services import Services
from router.config import Settings

LEFT_OUT: dict[str, Any] = {
    "host": "127.0.0.1",
    "migrate": True,
    "otel": False,
    "judge_share": 0.0,
    "providers": "scripted",
    "text_features": "off",
    "outage": "strict",
    "budget_usd_per_day": None,
    "exploration_quality_per_day": None,
    "exploration_usd_per_day": None,
    "log_retention_days": None,
}
"""No provider, judge or collector is reached, no text is read, and no day's allowance runs out under thousands of decisions a second."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is measured."""

    url: str
    """May hold a password: for connecting, not for printing."""
    told: str
    durability: str
    """full, normal, or none in memory."""
    size: Callable[[], int]
    """Bytes that it takes on disk."""


@contextmanager
def place(settings: Settings, *, room: int = 0) -> Iterator[Place]:
    """A temporary database beside the configured one; ``room`` in bytes.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``.
    """
    if settings.in_memory:
        yield Place(settings.database_url, "a store in memory", "none", lambda: 0)
        return
    from router.storage import temporary  # here: a store in memory needs no driver

    with temporary.beside(settings.database_url, room=room) as made:
        yield Place(made.url, made.place, settings.durability, made.size)


def overrides(settings: Settings, at: Place) -> dict[str, Any]:
    """What differs from the operator's settings on a temporary database, for another process that reads them too."""
    return {**LEFT_OUT, "database_url": at.url, "durability": settings.durability}


def settings_on(settings: Settings, at: Place) -> Settings:
    """The operator's settings on a temporary database, but for ``LEFT_OUT``."""
    return settings.model_copy(update=overrides(settings, at))


@asynccontextmanager
async def running(settings: Settings, *, models: int | None = None) -> AsyncIterator[Services]:
    """The service; with ``models``, only the first so many of its catalogue are active.

    Raises what ``bootstrap.build`` and ``start`` raise.
    """
    services = await bootstrap.build(settings)
    for model in () if models is None else services.models.catalog.active[models:]:
        services.store.save_model(replace(model, retired=True), time())
    await services.start()
    try:
        yield services
    finally:
        await services.close()


def machine() -> dict[str, Any]:
    """What ran it."""
    return {
        "release": telemetry.release(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": cpus(),
    }


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
