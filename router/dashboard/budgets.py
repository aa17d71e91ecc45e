"""API keys: who may do what, and what is left of the budgets."""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from router.dashboard.sources import Learned, Sources
from router.domain.keys import ApiKey, window
from router.domain.spending import day_of


@dataclass(frozen=True, slots=True)
class Standing:
    """A key, without anything that leads to it."""

    key: ApiKey
    state: str
    drawn_usd: float
    used: float
    """Of the budget, as a part; 0 where there is none."""
    resets_at: float | None


async def budgets(_request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """All keys, usable ones first."""
    now = sources.clock()
    keys, drawn = await sources.keys.known(), await sources.keys.drawn_usd()
    found = [_standing(key, drawn, now) for key in keys]
    points, usd = sources.limits().exploration_quality_per_day, sources.limits().exploration_usd_per_day
    used = await asyncio.to_thread(sources.store.allowances, day_of(now)) if points or usd else {}
    exploring = [
        (used.get(name, 0) / 1e9 / most, used.get(name, 0) / 1e9, most, kind)
        for name, most, kind in (("exploration_quality", points, "points"), ("exploration_usd", usd, "usd"))
        if most is not None
    ]
    found.sort(key=lambda s: (s.state != "valid", -s.used, s.key.name))
    return "budgets.html", {"day": sources.day(), "exploring": exploring, "keys": found, "now": now}


def _standing(key: ApiKey, drawn: dict[tuple[str, int], float], now: float) -> Standing:
    state = "valid" if key.usable(now) else "revoked" if key.revoked_at is not None else "expired"
    if key.budget is None:
        return Standing(key, state, 0.0, 0.0, None)
    start, end = window(key.budget.period, now)
    spent = drawn.get((key.id, start), 0.0)
    return Standing(key, state, spent, min(spent / key.budget.usd, 1.0), float(end))
