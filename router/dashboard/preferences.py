"""What is preferred on each task type, how sure that is, and what would change it."""

import asyncio
from functools import partial
from typing import Any

from starlette.requests import Request

from learning.rules import ModelPreference, TaskPreferences
from router.dashboard import charts
from router.dashboard.periods import PERIODS, stretch, total
from router.dashboard.sources import Learned, Sources
from router.domain.tallies import DAY_S
from router.errors import StorageUnavailable, TaskInvalid

_COLUMNS = 12
"""Models beside each other in the table of all task types."""
MOST_FOLDED = 20_000
"""Log records up to which a history is worked out beside requests."""
_LONGEST = 200
_POINTS, _MOVES = 40, 12


async def preferences(request: Request, sources: Sources, learned: Learned) -> tuple[str, dict[str, Any]]:
    """All task types beside each other, or one of them whole.

    Raises ``TaskInvalid`` where nothing is known of the task type.
    """
    wanted = request.query_params.get("task_type")
    report = learned.report()
    if wanted is None:
        return "preferences.html", _matrix(report.task_types) | {"seq": report.seq, "weights": sources.weights}
    chosen = next((p for p in report.task_types if p.task_type == wanted), None)
    if chosen is None:
        raise TaskInvalid("nothing is known of this task type", field="task_type", remedy="choose one from the list of preferences")
    now = sources.clock()
    at = await asyncio.to_thread(stretch, sources.store, "all", now)
    lines = await asyncio.to_thread(sources.store.tallies, DAY_S, 0.0, "task_type", wanted)
    used = {line.model: line.sums.decisions for line in lines}
    ranked = charts.ranked(lines)
    coloured = charts.colours(ranked)
    spots = charts.spots([chosen], {wanted: 1}, used)
    shown = [m for m in chosen.models if m.n or used.get(m.model) or m.probability_best >= 0.01]
    return "preference.html", {
        "chosen": chosen,
        "task_types": [p.task_type for p in report.task_types],
        "rows": [(m, charts.bar(m.quality.mean, m.quality.low, m.quality.high), used.get(m.model, 0)) for m in shown],
        "untried": len(chosen.models) - len(shown),
        "coloured": coloured,
        "frontier": charts.frontier(spots, coloured, total(lines)),
        "spots": spots,
        "sums": total(lines),
        "at": at,
        "periods": PERIODS,
        "weights": sources.weights,
        "has_history": sources.history is not None and sources.training.seq <= MOST_FOLDED,
    }


async def history(request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """How the preferences on a task type moved over the log, and which evidence moved them.

    Raises ``StorageUnavailable`` where that takes too long beside requests.
    """
    wanted = request.query_params.get("task_type", "")[:_LONGEST]
    if sources.history is None or sources.training.seq > MOST_FOLDED:
        raise StorageUnavailable(
            "the log is too long to be folded beside requests", remedy="run 'pointsman history TASK_TYPE' on the command line"
        )
    found = await sources.read_back(partial(sources.history.history, wanted, _POINTS))
    chart = charts.course(found.points)
    coloured = {series["name"]: series["colour"] for series in chart["series"]}
    return "history.html", {"wanted": wanted, "history": found, "chart": chart, "coloured": coloured, "moves": found.moves[-_MOVES:][::-1]}


def _matrix(found: tuple[TaskPreferences, ...]) -> dict[str, Any]:
    evidence: dict[str, float] = {}
    for preference in found:
        for own in preference.models:
            if own.n or own.probability_best >= 0.05:
                evidence[own.model] = evidence.get(own.model, 0.0) + own.probability_best
    columns = sorted(evidence, key=lambda model: (-evidence[model], model))[:_COLUMNS]
    rows: list[tuple[TaskPreferences, list[tuple[ModelPreference, int] | None]]] = []
    for preference in sorted(found, key=lambda p: (-p.n, p.task_type)):
        by_model = {own.model: own for own in preference.models}
        rows.append((preference, [_cell(by_model.get(model)) for model in columns]))
    return {"columns": columns, "rows": rows, "left_out": len(evidence) - len(columns)}


def _cell(own: ModelPreference | None) -> tuple[ModelPreference, int] | None:
    return None if own is None else (own, round(own.probability_best * 10))
