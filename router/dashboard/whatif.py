"""What a change would mean before it is made, and what routing saves against one model for everything: both from the log."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from learning.evaluation.intervals import Interval
from router.dashboard import charts, formats
from router.dashboard.sources import Learned, Sources
from router.domain.candidates import Candidate
from router.domain.evaluation import Comparison, Value
from router.domain.lift import Gain, Lift
from router.domain.recall import Scope
from router.domain.tallies import DAY_S
from router.domain.tasks import Weights
from router.errors import RouterError, StorageUnavailable, TaskInvalid

T = TypeVar("T")
Show = Callable[[float | None], str]
LAST = (500, 1_000, 2_000, 5_000)
_LONGEST = 200
_MOST_ROWS = 12
MOST_FOLDED_UNASKED = 50_000
"""Log records up to which savings are worked out unasked: the log is folded for them, some ten thousand records a second."""
_SAVINGS_AGE_S = 60.0
_SAVINGS_KEPT = 20
_LATEST = 1_000
"""Decisions that a comparison with one model looks at."""
_LIFT_FROM = 10_000
"""Decisions that the lift is read from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity in words; ``good`` tells which way its difference points, None where that is not sure."""

    name: str
    before: str
    after: str
    difference: str
    interval: str
    """Of the difference."""
    good: bool | None
    believed: bool = False
    """The log cannot tell: what the learned state believes stands in, without an interval."""


async def what_if(request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """The form, and the answer where something is asked.

    Raises ``StorageUnavailable`` where the service keeps no log to read back.
    """
    query = dict(request.query_params)
    lines = await asyncio.to_thread(sources.store.tallies, DAY_S, 0.0, "task_type")
    ranked = charts.ranked(lines)
    known = sorted({model.id for model in sources.catalog().active} | set(ranked))
    given, found, problem = query, None, None
    if query.get("asked"):
        try:
            candidate, scope = _candidate(query, sources.weights)
            found = await compared(sources, candidate, scope, ahead=True)
        except StorageUnavailable:
            raise
        except RouterError as exc:
            problem = exc
    return "what_if.html", {
        "given": given,
        "usual": sources.weights,
        "models": known,
        "used": ranked,
        "task_types": sorted({line.task_type or "" for line in lines}),
        "lasts": LAST,
        "found": found,
        "rows": [] if found is None else rows(found),
        "traffic": [] if found is None else traffic(found),
        "coloured": charts.colours(ranked),
        "problem": problem,
    }


async def compared(sources: Sources, candidate: Candidate, scope: Scope, *, ahead: bool) -> Comparison:
    """The answer of the log."""
    if sources.evaluation is None:
        raise StorageUnavailable("this service keeps no log to read back", remedy="ask the one that does")
    ask: Callable[..., Comparison] = sources.evaluation.what_if if ahead else sources.evaluation.evaluate
    return await sources.read_back(partial(ask, candidate, scope))


def _candidate(query: Mapping[str, str], usual: Weights) -> tuple[Candidate, Scope]:
    weights = Weights(*(_number(query, f"weight_{name}", getattr(usual, name), 0, 100) for name in ("quality", "cost", "latency")))
    candidate = Candidate(weights=None if weights == usual else weights)
    if priced := query.get("price_model", "")[:_LONGEST]:
        pair = (_number(query, "price_input", None, 0, 1e6), _number(query, "price_output", None, 0, 1e6))
        candidate = replace(candidate, prices={priced: pair})
    if dropped := query.get("without", "")[:_LONGEST]:
        candidate = replace(candidate, without=frozenset({dropped}))
    if capped := query.get("cap_model", "")[:_LONGEST]:
        candidate = replace(candidate, caps={capped: _number(query, "cap_share", None, 0, 99.9) / 100})
    if everything := query.get("all_on", "")[:_LONGEST]:
        candidate = replace(candidate, model=everything)
    last = int(_number(query, "last", 1_000, 2, LAST[-1]))
    return candidate, Scope(last=last, task_type=query.get("task_type", "")[:_LONGEST] or None)


def _number(query: Mapping[str, str], field: str, usual: float | None, least: float, most: float) -> float:
    text = query.get(field, "").strip()
    if not text and usual is not None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise TaskInvalid("a number is missing or out of range", field=field, remedy=f"give a number from {least:g} to {most:g}")
    return value


_QUANTITIES: tuple[tuple[str, str, float, Show, bool], ...] = (
    ("Utility", "utility", 1.0, formats.points, True),
    ("Quality", "quality", 1.0, formats.points, True),
    ("Cost per 1,000 calls", "cost_usd", 1000.0, formats.usd, False),
    ("Latency", "latency_s", 1.0, formats.seconds, False),
)
"""Title, name, scale, how it is shown, and whether more of it is better."""


def rows(found: Comparison, *, turned: bool = False) -> list[Row]:
    """From now to then, or (``turned``) from then to now."""
    made = []
    for title, name, scale, show, more_is_better in _QUANTITIES:
        value: Value | None = getattr(found, name)
        if value is not None:
            made.append(_row(title, value, scale, show, more_is_better, turned))
    return made


def _row(title: str, value: Value, scale: float, show: Show, more_is_better: bool, turned: bool) -> Row:
    now = None if value.now is None else value.now.mean
    then = value.estimators.get("direct") if value.then is None else value.then.mean
    change = value.difference
    mean = (None if now is None or then is None else then - now) if change is None else change.mean
    low, high = (None, None) if change is None else (change.low, change.high)
    if turned:
        now, then, mean = then, now, None if mean is None else -mean
        low, high = (None, None) if low is None or high is None else (-high, -low)
    return Row(
        title,
        _told(now, scale, show),
        _told(then, scale, show),
        _signed(mean, scale, show),
        "" if low is None else f"{_signed(low, scale, show)} to {_signed(high, scale, show)}",
        _good(low, high, more_is_better),
        believed=value.then is None and mean is not None,
    )


def gains(found: Lift) -> list[Row]:
    """From the baseline to routing, as measured."""
    made = []
    for title, name, scale, show, more_is_better in _QUANTITIES:
        gain: Gain = getattr(found, name)
        lift = gain.lift
        mean = None if gain.routed is None or gain.baseline is None else gain.routed - gain.baseline
        mean, low, high = (mean, None, None) if lift is None else (lift.mean, lift.low, lift.high)
        ends = "" if low is None else f"{_signed(low, scale, show)} to {_signed(high, scale, show)}"
        good = _good(low, high, more_is_better)
        made.append(Row(title, _told(gain.baseline, scale, show), _told(gain.routed, scale, show), _signed(mean, scale, show), ends, good))
    return made


def _told(value: float | None, scale: float, show: Show) -> str:
    return "cannot tell" if value is None else show(value * scale)


def _signed(value: float | None, scale: float, show: Show) -> str:
    if value is None:
        return "cannot tell"
    text = show(abs(value) * scale)
    return f"+{text}" if value > 0 else f"−{text}" if value < 0 else text


def _good(low: float | None, high: float | None, more_is_better: bool) -> bool | None:
    return None if low is None or high is None or low <= 0 <= high else (low > 0) == more_is_better


def traffic(found: Comparison) -> list[tuple[str, float, Interval]]:
    """(model, share now, share then), the largest first."""
    lines = [(line.model, line.now, line.then) for line in found.traffic]
    return sorted(lines, key=lambda line: -max(line[1], line[2].mean))[:_MOST_ROWS]


async def savings(request: Request, sources: Sources, learned: Learned) -> tuple[str, dict[str, Any]]:
    """What routing brings: measured against a held-back baseline where there is one, and from the log against one model for everything.

    Raises ``StorageUnavailable`` where the service keeps no log to read back.
    """
    lines = await asyncio.to_thread(sources.store.tallies, DAY_S, 0.0, "task_type")
    weights: dict[str, int] = {}
    for line in lines:
        weights[line.task_type or ""] = weights.get(line.task_type or "", 0) + line.sums.decisions
    spots = charts.spots(learned.report().task_types, weights, {})
    usual = sources.baseline or (max(spots, key=lambda spot: spot.quality).model if spots else None)
    chosen = request.query_params.get("against", "")[:_LONGEST] or usual
    found, problem = None, None
    if chosen is not None and ("against" in request.query_params or sources.training.seq <= MOST_FOLDED_UNASKED):
        try:
            found = await _once(learned, chosen, sources, lambda: compared(sources, Candidate(model=chosen), Scope(_LATEST), ahead=False))
        except StorageUnavailable:
            raise
        except RouterError as exc:
            problem = exc
    lift: Lift | None = None
    if sources.lift is not None and sources.baseline is not None:
        lift = await _once(learned, "", sources, lambda: _lift(sources))
    return "savings.html", {
        "chosen": chosen,
        "models": sorted({spot.model for spot in spots} | set(charts.ranked(lines))),
        "found": found,
        "rows": [] if found is None else rows(found, turned=True),
        "lift": lift,
        "gains": [] if lift is None else gains(lift),
        "baseline": sources.baseline,
        "problem": problem,
        "records": sources.training.seq,
        "latest": _LATEST,
    }


async def _lift(sources: Sources) -> Lift:
    if sources.lift is None:
        raise StorageUnavailable("this service keeps no log to read back", remedy="ask the one that does")
    return await sources.read_back(partial(sources.lift.lift, last=_LIFT_FROM))


async def _once(learned: Learned, key: str, sources: Sources, make: Callable[[], Awaitable[T]]) -> T:
    """Made anew at most once a minute, whoever looks."""
    now, seq = sources.clock(), sources.training.seq
    made = learned.savings.get(key)
    if made is None or (made[1] != seq and not 0 <= now - made[0] < _SAVINGS_AGE_S):
        if len(learned.savings) >= _SAVINGS_KEPT:
            learned.savings.clear()
        made = learned.savings[key] = now, seq, await make()
    value: T = made[2]
    return value
