"""The log of decisions, and one decision with its reasons."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from router.dashboard import charts
from router.dashboard.sources import Learned, Sources
from router.domain.events import DecisionRecord
from router.domain.tallies import DAY_S
from router.errors import DecisionNotFound, StorageUnavailable

_PAGE = 50
_LONGEST = 200
_MOST_FOLDED = 20_000
"""Log records that are folded for one page; a longer way back is for the command line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One decision in a list."""

    record: DecisionRecord
    model: str
    """The one that served."""
    score: float | None
    scores: int


def line(record: DecisionRecord) -> Line:
    """A decision with the mean of its scores as they stand."""
    standing: dict[tuple[str, str], float | None] = {}
    for entry in record.feedback:
        standing[entry["judge"], entry["metric"]] = entry["score"]
    scores = [score for score in standing.values() if score is not None]
    served = (record.outcome.model if record.outcome is not None else None) or record.decision.model
    return Line(record, served, sum(scores) / len(scores) if scores else None, len(scores))


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; empty strings are no limit."""

    task_type: str = ""
    model: str = ""
    since: str = ""
    until: str = ""
    before: int | None = None
    problem: str = ""
    """What cannot be read, in words."""


def read_filter(query: dict[str, str]) -> Filter:
    """The filter of an address; what cannot be read is left out and said."""
    problem = ""
    for name in ("since", "until"):
        if query.get(name) and moment(query[name]) is None:
            problem = "A time cannot be read: write it as 2026-01-31T23:59, in UTC."
            query = query | {name: ""}
    before = query.get("before_seq", "")
    return Filter(
        task_type=query.get("task_type", "")[:_LONGEST],
        model=query.get("model", "")[:_LONGEST],
        since=query.get("since", ""),
        until=query.get("until", ""),
        before=int(before) if before.isdecimal() and len(before) < 18 else None,
        problem=problem,
    )


def moment(text: str) -> float | None:
    """Unix time of a form's local time, taken as UTC."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _find(sources: Sources, chosen: Filter) -> tuple[list[DecisionRecord], bool]:
    store, before, after = sources.store, chosen.before, 0
    if chosen.task_type and chosen.model:  # a pair that never came would be looked for in the whole log
        lines = store.tallies(DAY_S, 0.0, "task_type", chosen.task_type)
        if store.counted().seq and not any(tally.model == chosen.model and tally.sums.decisions for tally in lines):
            return [], False
    if (until := moment(chosen.until)) is not None:
        latest = store.decided_by(until) + 1
        before = latest if before is None else min(before, latest)
    if (since := moment(chosen.since)) is not None:
        after = store.decided_by(since - 1e-6)
    found = store.decisions(before_seq=before, limit=_PAGE + 1, task_type=chosen.task_type or None, model=chosen.model or None)
    inside = [record for record in found if record.seq > after]
    return inside[:_PAGE], len(inside) > _PAGE


async def decisions(request: Request, sources: Sources, learned: Learned) -> tuple[str, dict[str, Any]]:
    """The latest decisions, narrowed by task type, model and time."""
    chosen = read_filter(dict(request.query_params))
    found, more = await asyncio.to_thread(_find, sources, chosen)
    lines = await asyncio.to_thread(sources.store.tallies, DAY_S, 0.0, "task_type")
    ranked = charts.ranked(lines)
    kept = {name: value for name in ("task_type", "model", "since", "until") if (value := getattr(chosen, name))}
    return "decisions.html", {
        "chosen": chosen,
        "decisions": [line(record) for record in found],
        "task_types": sorted({tally.task_type or "" for tally in lines} | {p.task_type for p in learned.report().task_types}),
        "models": ranked,
        "coloured": charts.colours(ranked),
        "older": f"/decisions?{urlencode(kept | {'before_seq': str(found[-1].seq)})}" if more else None,
        "newest": f"/decisions?{urlencode(kept)}" if chosen.before is not None else None,
        "now": sources.clock(),
    }


async def decision(request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """One decision: why this model, why not the others, what happened.

    Raises ``DecisionNotFound``.
    """
    record = await _wanted(request, sources)
    told = record.decision
    eligible = sorted(zip(told.eligible, told.propensities, strict=True), key=lambda pair: (pair[0] != told.model, -pair[1], pair[0]))
    excluded: dict[str, list[Any]] = {}
    for exclusion in told.excluded:
        excluded.setdefault(exclusion.code, []).append(exclusion)
    return "decision.html", {
        "line": line(record),
        "record": record,
        "decision": told,
        "eligible": eligible,
        "excluded": sorted(excluded.items(), key=lambda item: (-len(item[1]), item[0])),
        "facts": sorted(told.request.items()),
        "can_recompute": sources.audit is not None,
        "now": sources.clock(),
    }


async def recomputed(request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """The decision taken once more from the log: what was expected of each model, and what would have chosen it.

    Raises ``DecisionNotFound``, ``StorageUnavailable``.
    """
    record = await _wanted(request, sources)
    if sources.audit is None:
        raise StorageUnavailable("this service keeps no log to read back", remedy="ask the one that does")
    audit = await sources.read_back(partial(sources.audit.recompute, record, _MOST_FOLDED))
    flips = {alternative.model: alternative.flip for alternative in audit.alternatives}
    models = sorted(audit.models, key=lambda one: (one.model != record.decision.model, -one.weighed.utility))
    shown = [
        (one, charts.bar(quality.mean, quality.low, quality.high), flips.get(one.model))
        for one in models
        for quality in (one.weighed.expected.quality,)
    ]
    return "recomputed.html", {"decision": record.decision, "audit": audit, "models": shown}


async def _wanted(request: Request, sources: Sources) -> DecisionRecord:
    wanted = request.path_params["decision_id"]
    usable = len(wanted) <= _LONGEST and wanted.isascii() and wanted.isprintable()
    record = await asyncio.to_thread(sources.store.decision, wanted) if usable else None
    if record is None:
        raise DecisionNotFound("no decision has this id", field="decision_id", remedy="look for it in the list of decisions")
    return record
