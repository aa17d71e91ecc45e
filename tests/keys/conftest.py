"""The application of the API tests, and keys for it."""

import time
from collections.abc import Callable

import pytest

from router.domain.ids import new_id
from router.domain.keys import ApiKey, Budget, Rate, Scope
from router.services.keys import KeyService
from router.storage.memory import MemoryStore
from tests.api.conftest import rig, settings

__all__ = ["rig", "settings"]


def wanted(
    name: str = "k", *scopes: Scope, expires_at: float | None = None, rate: Rate | None = None, budget: Budget | None = None
) -> ApiKey:
    """What a key should be, before it is made."""
    return ApiKey("", name, "", "", frozenset(scopes or Scope), 0.0, expires_at, rate=rate, budget=budget)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


NOON = Clock(20_000.5 * 86_400)
"""Of a day in the middle of a week and of no month's end: no budget's period ends while a test runs."""


def service(store: MemoryStore, *, clock: Callable[[], float] = NOON, monotonic: Callable[[], float] = time.monotonic) -> KeyService:
    """A key service of its own, as another process would have."""
    return KeyService(store, clock=clock, monotonic=monotonic, new_id=new_id, loopback=True)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
