"""Calls of a provider keep to its limits."""

import asyncio
from time import monotonic

from router.domain.battery import RateLimit
from router.domain.throttle import Throttle


async def test_so_many_at_a_time():
    throttle = Throttle(RateLimit(concurrency=3), monotonic)
    running, most = 0, 0

    async def call() -> None:
        nonlocal running, most
        async with throttle.turn():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*[call() for _ in range(20)])
    assert most == 3


async def test_so_many_a_minute_and_none_before_the_time_that_was_asked_for():
    throttle = Throttle(RateLimit(concurrency=10, per_minute=3_000), monotonic)
    begun, starts = monotonic(), []

    async def call() -> None:
        async with throttle.turn():
            starts.append(monotonic() - begun)

    await asyncio.gather(*[call() for _ in range(5)])
    assert all(start >= 0.02 * i - 0.002 for i, start in enumerate(sorted(starts)))  # never early; late does not matter
    asked = monotonic()
    throttle.rest(0.05)
    await call()
    assert monotonic() - asked >= 0.048
