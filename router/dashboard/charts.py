"""What the charts draw, as plain values that a page carries in an attribute, and the colour of each model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learning.rules import TaskPreferences
from router.dashboard.periods import Steps
from router.domain.tallies import Sums, Tally
from router.services.history import Standing

COLOURS = 8
"""Models with a colour of their own; the others share a grey one."""
OTHERS = "other models"
_LINES = 6


def colours(ranked: Iterable[str]) -> dict[str, int]:
    """Colour numbers of the first models."""
    return {model: i for i, model in enumerate(list(ranked)[:COLOURS])}


def ranked(lines: Sequence[Tally]) -> list[str]:
    """Models by the number of decisions for them, the most used first."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.model] = counts.get(line.model, 0) + line.sums.decisions
    return sorted((model for model, n in counts.items() if n), key=lambda model: (-counts[model], model))


def shares(at: Steps, coloured: Mapping[str, int]) -> dict[str, Any]:
    """Each model's share of the decisions, step by step."""
    totals = [sum(own[start].decisions for own in at.sums.values() if start in own) for start in at.starts]
    series = []
    for model in sorted(coloured, key=lambda name: coloured[name]):
        own = at.sums.get(model, {})
        series.append({"name": model, "colour": coloured[model], "counts": [_decisions(own, start) for start in at.starts]})
    rest = [sum(_decisions(own, start) for model, own in at.sums.items() if model not in coloured) for start in at.starts]
    if any(rest):
        series.append({"name": OTHERS, "colour": None, "counts": rest})
    return {"kind": "shares", "starts": at.starts, "step_s": at.length_s, "totals": totals, "series": series}


def _decisions(own: Mapping[int, Sums], start: int) -> int:
    return own[start].decisions if start in own else 0


@dataclass(frozen=True, slots=True)
class Spot:
    """A model between cost and quality."""

    model: str
    cost_usd: float
    quality: float
    low: float
    high: float
    scores: int
    share: float
    """Of the decisions in the stretch."""
    best: bool = False
    """Nothing is both cheaper and better."""


def spots(preferences: Sequence[TaskPreferences], weights: Mapping[str, int], used: Mapping[str, int]) -> list[Spot]:
    """Models on several task types, each type weighed by its decisions; those that were tried, the cheapest first.

    Intervals are those of full dependence between the types: never too narrow.
    """
    total = sum(weights.get(p.task_type, 0) for p in preferences) or 1
    all_used = sum(used.values()) or 1
    sums: dict[str, list[float]] = {}
    for preference in preferences:
        w = weights.get(preference.task_type, 0) / total
        for own in preference.models if w else ():
            if own.cost_usd is not None:
                row = sums.setdefault(own.model, [0.0] * 6)
                for i, value in enumerate((w, own.cost_usd * w, own.quality.mean * w, own.quality.low * w, own.quality.high * w, own.n)):
                    row[i] += value
    found = [
        Spot(model, cost / w, mean / w, low / w, high / w, round(n), used.get(model, 0) / all_used)
        for model, (w, cost, mean, low, high, n) in sums.items()
        if w > 1 - 1e-9 and (n or used.get(model, 0))
    ]
    found.sort(key=lambda spot: (spot.cost_usd, -spot.quality))
    return _with_frontier(found)


def _with_frontier(found: Sequence[Spot]) -> list[Spot]:
    marked, reached = [], -1.0
    for spot in found:
        best = spot.quality > reached
        reached = max(reached, spot.quality)
        marked.append(Spot(spot.model, spot.cost_usd, spot.quality, spot.low, spot.high, spot.scores, spot.share, best))
    return marked


def frontier(found: Sequence[Spot], coloured: Mapping[str, int], routed: Sums) -> dict[str, Any]:
    """Cost against quality, with what routing itself came to."""
    cost, score = routed.mean_cost_usd, routed.mean_score
    return {
        "kind": "frontier",
        "points": [
            {
                "name": spot.model, "colour": coloured.get(spot.model), "x": spot.cost_usd, "y": spot.quality,
                "low": spot.low, "high": spot.high, "n": spot.scores, "share": spot.share, "best": spot.best,
            }
            for spot in found
        ],
        "routed": {"x": cost, "y": score} if cost and score is not None else None,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval in [0, 1] as a drawing 100 units wide."""

    x: float
    width: float
    mark: float


def bar(mean: float, low: float, high: float) -> Bar:
    """The drawing of a mean and its interval."""
    return Bar(round(low * 100, 2), round(max(high - low, 0.005) * 100, 2), round(mean * 100, 2))


def course(points: Sequence[Standing]) -> dict[str, Any]:
    """Expected quality of the models that led most, over the positions of the log."""
    led: dict[str, float] = {}
    for point in points:
        for own in point.preferences.models:
            if own.n:
                led[own.model] = led.get(own.model, 0.0) + own.probability_best
    shown = sorted(led, key=lambda model: (-led[model], model))[:_LINES]
    series = []
    for i, model in enumerate(shown):
        known = [next((own for own in point.preferences.models if own.model == model), None) for point in points]
        series.append({"name": model, "colour": i, "values": [None if own is None else own.quality.mean for own in known]})
    return {"kind": "course", "positions": [point.seq for point in points], "series": series}
