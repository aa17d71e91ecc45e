"""Chat completions as fast as they come, or one at a time with pauses between them."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Took:
    """Seconds of each call: to its first byte and to its last."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def ms(self, percent: int, of: str = "whole") -> float:
        """A percentile in milliseconds."""
        return statistics.quantiles(getattr(self, of), n=100, method="inclusive")[percent - 1] * 1e3


async def crowd(url: str, body: dict[str, Any], *, seconds: float, at_once: int) -> tuple[Took, float]:
    """Keep ``at_once`` calls under way; what each took, and the calls per second."""
    took = Took()
    async with _session() as session:
        begun = time.perf_counter()

        async def caller() -> None:
            while time.perf_counter() - begun < seconds:
                await _call(session, url, body, took)

        await asyncio.gather(*(caller() for _ in range(at_once)))
        return took, len(took.whole) / (time.perf_counter() - begun)


async def paced(urls: dict[str, tuple[str, dict[str, Any]]], *, calls: int, pause_s: float) -> dict[str, Took]:
    """One call at a time, to each server in turn, with a pause before each: no server has anything else to do."""
    took = {name: Took() for name in urls}
    async with _session() as session:
        for _ in range(calls):
            for name, (url, body) in urls.items():
                await asyncio.sleep(pause_s)
                await _call(session, url, body, took[name])
    return took


def _session() -> Any:
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={"authorization": "Bearer any"})


async def _call(session: Any, url: str, body: dict[str, Any], took: Took) -> None:
    begun = time.perf_counter()
    async with session.post(f"{url}/chat/completions", json=body) as answer:
        if answer.status != 200:
            raise SystemExit(f"{url} answered {answer.status}: {(await answer.text())[:300]}")
        await answer.content.readany()
        took.first.append(time.perf_counter() - begun)
        await answer.read()
    took.whole.append(time.perf_counter() - begun)
