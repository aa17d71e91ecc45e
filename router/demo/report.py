"""From the tally, the learned policy and the truth to one report: every figure in it is computed here."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.demo.driver import Driver
from router.demo.tally import Sums, Tally, merged
from router.demo.workload import TableWorkload, Workload


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done to the world while the service ran."""

    kind: str
    """degraded or price_cut"""
    model: str
    at_decision: int
    text: str


def build(
    driver: Driver, workload: Workload, policy: Mapping[str, Any], changes: Sequence[Change], *, mode: str, started: float
) -> dict[str, Any]:
    """The report as JSON-ready values."""
    tally, counts = driver.tally, driver.counts
    seconds = time.monotonic() - started
    return {
        "mode": mode,
        "decisions": counts.decisions,
        "outcomes": counts.outcomes,
        "feedback": {
            "given": counts.feedback,
            "late": counts.late,
            "corrected": counts.corrected,
            "retracted": counts.retracted,
            "never": counts.decisions - counts.feedback,
        },
        "failed_calls": tally.failures,
        "fallbacks": tally.fallbacks,
        "seconds": seconds,
        "decisions_per_s": counts.decisions / seconds,
        "learned": {"seq": policy["seq"], "digest": policy["digest"]},
        "comparison": comparison(tally, workload),
        "changes": [_change(change, tally) for change in changes],
        "rules": [_rule(row, tally, workload) for row in policy["task_types"]],
    }


def comparison(tally: Tally, workload: Workload) -> dict[str, Any]:
    """What routing gave, and what other choices would have given on the same tasks."""
    if not tally.total.n:
        return {}
    singles = {model: tally.single(model) for model in workload.models}
    enough = (0.5 if isinstance(workload, TableWorkload) else 0.999) * max(sums.n for sums in singles.values())
    covering = {model: sums for model, sums in singles.items() if sums.n >= enough}  # tables have gaps; scripted models can or cannot
    shown: dict[str, Any] = {"routed": tally.total.means(), "routed_last_quarter": tally.last().means(), "random": tally.random.means()}
    for name, measure in (("best_quality_single", "quality"), ("best_utility_single", "utility"), ("dearest_single", "cost_usd")):
        best = max(covering, key=lambda model: _mean(covering[model], measure), default=None)
        if best is not None:
            shown[name] = {"model": best, **covering[best].means()}
    shown["best_per_task_type"] = merged(_best_in_hindsight(tally, workload)).means()
    return shown


def _best_in_hindsight(tally: Tally, workload: Workload) -> Iterator[Sums]:
    """By the whole table's means; in the scripted world, which changes half-way, by each half's own outcomes."""
    for (_, task_type), models in tally.by_half_and_type().items():
        if isinstance(workload, TableWorkload):
            best = max(models, key=lambda model: workload.truth(model, task_type) or 0.0)
        else:
            best = max(models, key=lambda model: models[model].utility / models[model].n)
        yield models[best]


def _mean(sums: Sums, measure: str) -> float:
    value = sums.means()[measure]
    return -1e9 if value is None else value


def _change(change: Change, tally: Tally) -> dict[str, Any]:
    """The traffic of the changed model in the quarter before the change and in the last quarter."""
    at, total = change.at_decision, len(tally.routed)
    quarter = max(1, total // 4)
    before, after = tally.shares(max(0, at - quarter), at), tally.shares(max(at, total - quarter), total)
    return {
        "kind": change.kind,
        "model": change.model,
        "at_decision": at,
        "text": change.text,
        "share_before": before.get(change.model, 0.0),
        "share_last": after.get(change.model, 0.0),
    }


def _rule(row: Mapping[str, Any], tally: Tally, workload: Workload) -> dict[str, Any]:
    """A learned preference beside the truth."""
    task_type, recommended = row["task_type"], row["recommended"]
    learned = next((model for model in row["models"] if model["model"] == recommended), None)
    worth = {model: value for model in workload.models if (value := _true_utility(model, task_type, tally, workload)) is not None}
    best = max(worth, key=lambda model: worth[model], default=None)
    return {
        "task_type": task_type,
        "recommended": recommended,
        "quality": learned and learned["quality"],
        "n": learned["n"] if learned else 0,
        "status": row["status"],
        "runner_up": row["runner_up"],
        "flip": row["flip"],
        "true_quality": None if recommended is None else workload.truth(recommended, task_type),
        "true_best": best,
        "true_best_quality": None if best is None else workload.truth(best, task_type),
        "utility_lost": worth[best] - worth[recommended] if best is not None and recommended in worth else None,
    }


def _true_utility(model: str, task_type: str, tally: Tally, workload: Workload) -> float | None:
    """From the true quality, and the mean cost and latency of the model's calls since the last change."""
    quality = workload.truth(model, task_type)
    sums = tally.what_if.get((1, task_type, model)) or tally.what_if.get((0, task_type, model))
    if quality is None or sums is None:
        return None
    means = sums.means()
    return tally.worth.of(quality, means["cost_usd"], means["latency_s"])
