"""Who gives the scores, how many, and how they lie."""

import asyncio
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request

from router.dashboard import charts
from router.dashboard.sources import Learned, Sources
from router.domain.tallies import Judged
from router.services.judge_report import judge_report

_WINDOW = 30_000
"""Latest log positions that the judges are measured over."""


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge under one metric, over all models; ``deviations`` are (model, scores, mean, deviation from the judge's mean)."""

    judge: str
    metric: str
    scores: int
    mean: float
    sd: float
    by_model: tuple[tuple[str, int, float], ...]


def summed(lines: list[Judged]) -> list[Judge]:
    """The judges, the busiest first."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for item in lines:
        groups.setdefault((item.judge, item.metric), []).append(item)
    found = []
    for (judge, metric), own in groups.items():
        n, total, squares = sum(i.scores for i in own), sum(i.total for i in own), sum(i.squares for i in own)
        mean = total / n
        by_model = tuple(sorted(((i.model, i.scores, i.total / i.scores) for i in own), key=lambda row: (-row[1], row[0])))
        found.append(Judge(judge, metric, n, mean, math.sqrt(max(squares / n - mean * mean, 0.0)), by_model))
    return sorted(found, key=lambda item: (-item.scores, item.judge, item.metric))


async def judges(_request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """All judges."""
    found = summed(await asyncio.to_thread(sources.store.judged))
    return "judges.html", {"judges": [(judge, _spread(judge)) for judge in found], "total": sum(judge.scores for judge in found)}


async def measured(_request: Request, sources: Sources, _learned: Learned) -> tuple[str, dict[str, Any]]:
    """How far the judges can be relied on, over the latest stretch of the log."""
    voices = sources.training.voices
    report = await sources.read_back(partial(judge_report, sources.store, dict(voices.calibrations), voices.trusts, _WINDOW))
    return "judges_measured.html", {"report": report}


def _spread(judge: Judge) -> charts.Bar:
    return charts.bar(judge.mean, max(judge.mean - judge.sd, 0.0), min(judge.mean + judge.sd, 1.0))
