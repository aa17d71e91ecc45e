"""Keeps calls of one provider within its limits: so many at a time, so many a minute, and none before the time it asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from router.domain.battery import RateLimit


class Throttle:
    """For one event loop."""

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float]) -> None:
        self._seats = asyncio.Semaphore(limit.concurrency)
        self._gap_s = 0.0 if limit.per_minute is None else 60.0 / limit.per_minute
        self._monotonic = monotonic
        self._next = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a seat and for the moment of the next call."""
        async with self._seats:
            await self.moment()
            yield

    async def moment(self) -> None:
        """Wait for the moment of the next call."""
        now = self._monotonic()
        start = max(now, self._next)
        self._next = start + self._gap_s
        if start > now:
            await asyncio.sleep(start - now)

    def rest(self, seconds: float) -> None:
        """No call starts before that much time has passed: the provider asked for it."""
        self._next = max(self._next, self._monotonic() + seconds)
