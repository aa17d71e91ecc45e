"""The first page: what is going on, at a glance."""

import asyncio
from typing import Any

from starlette.requests import Request

from router.dashboard import charts, decisions, incidents, whatif
from router.dashboard.periods import PERIODS, Stretch, steps, stretch, total
from router.dashboard.sources import Learned, Sources
from router.domain.tallies import Tally

_RECENT = 6
_MOST_TYPES = 25
"""Task types on the first page, the busiest; all are on the page of preferences."""


def _read(sources: Sources, key: str | None, now: float) -> tuple[Stretch, list[Tally], list[Tally]]:
    at = stretch(sources.store, key, now)
    by_time = sources.store.tallies(at.period.span_s, at.since, "time")
    by_type = sources.store.tallies(at.period.span_s, at.since, "task_type")
    return at, by_time, by_type


async def overview(request: Request, sources: Sources, learned: Learned) -> tuple[str, dict[str, Any]]:
    """Figures, traffic, frontier, what is preferred, incidents, the latest decisions."""
    now = sources.clock()
    at, by_time, by_type = await asyncio.to_thread(_read, sources, request.query_params.get("period"), now)
    latest = await asyncio.to_thread(sources.store.decisions, limit=_RECENT)
    report = learned.report()
    if not latest:
        return "empty.html", {"address": f"{request.url.scheme}://{request.url.netloc}"}
    ranked = charts.ranked(by_type)
    coloured = charts.colours(ranked)
    sums = total(by_type)
    weights: dict[str, int] = {}
    used: dict[str, int] = {}
    for line in by_type:
        weights[line.task_type or ""] = weights.get(line.task_type or "", 0) + line.sums.decisions
        used[line.model] = used.get(line.model, 0) + line.sums.decisions
    spots = charts.spots(report.task_types, weights, used)
    found = await asyncio.to_thread(incidents.told, sources, learned.moments)
    rows = sorted(report.task_types, key=lambda p: (-weights.get(p.task_type, 0), p.task_type))
    return "overview.html", {
        "at": at,
        "periods": PERIODS,
        "sums": sums,
        "coloured": coloured,
        "traffic": charts.shares(steps(by_time, at), coloured),
        "traffic_rows": [(model, used[model]) for model in ranked],
        "frontier": charts.frontier(spots, coloured, sums),
        "spots": spots,
        "rows": [(p, p.models[0], charts.bar(*_interval(p.models[0]))) for p in rows[:_MOST_TYPES] if p.models],
        "more_types": max(0, len(rows) - _MOST_TYPES),
        "weights": weights,
        "incidents": found,
        "savings_by_themselves": sources.evaluation is not None and sources.training.seq <= whatif.MOST_FOLDED_UNASKED,
        "decisions": [decisions.line(record) for record in latest],
        "now": now,
    }


def _interval(preference: Any) -> tuple[float, float, float]:
    return preference.quality.mean, preference.quality.low, preference.quality.high
