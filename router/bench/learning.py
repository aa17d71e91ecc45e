"""How the policies that ship learn on a table of recorded outcomes: the same streams for all, over seeds, beside hindsight."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.evaluation.intervals import asymptotic
from learning.policies import POLICIES
from router.bench.processes import each
from router.bench.service import machine
from router.domain.hindsight import baselines, best_single, regret
from router.domain.outcome_stream import model_means
from router.domain.outcome_table import OutcomeTable
from router.errors import TaskInvalid
from router.services.replay import ReplayOptions, replay, stream_of
from router.storage.outcome_files import read_outcomes

Tell = Callable[[int, int], None]

REFERENCE = "thompson"
"""The service's own default, which the others are held against."""
QUICK_SEEDS, QUICK_DECISIONS = 3, 1_500
POINTS = 60
"""Of a curve of regret."""
_METRICS = ("quality", "cost_usd", "latency_s", "utility")
_HINDSIGHT = ("random", "best_single", "best_per_task", "oracle")


@dataclass(frozen=True, slots=True)
class LearningPlan:
    """What to play."""

    options: ReplayOptions
    """Weights, share of scores told, and the model that the policy ``fixed`` calls; policy and seed are set for each pass."""
    policies: Sequence[str] = tuple(POLICIES)
    seeds: int = 10
    workers: int = 1
    """Processes."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Over seeds, with Student's 95 % interval; None where there is one seed."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Passed:
    """One policy's pass over the stream of one seed."""

    values: Mapping[str, float]
    """nan where nothing is known."""
    curve: FloatArray
    """(points,) regret so far."""


def measure(path: Path, plan: LearningPlan, tell: Tell | None = None) -> dict[str, Any]:
    """Play every policy on every seed's stream.

    Raises ``TaskInvalid`` naming the option or the column.
    """
    _check(plan)
    table = read_outcomes(path)
    plan = replace(plan, options=_with_fixed(table, plan))
    policies = [name for name in plan.policies if name != "fixed" or plan.options.baseline is not None]
    stream = stream_of(table, replace(plan.options, policy=REFERENCE))
    jobs = [(name, seed) for seed in range(plan.seeds) for name in (*policies, None)]
    made: dict[tuple[str | None, int], Passed] = {}
    for job, passed in _play(path, table, plan, jobs):
        made[job] = passed
        if tell is not None:
            tell(len(made), len(jobs))
    by_name = {name: [made[name, seed] for seed in range(plan.seeds)] for name in (*policies, None)}
    at, ours, yard = points(len(stream)), by_name[REFERENCE], by_name[None]
    return {
        "bench": "learning", **machine(), "rows": table.n_rows, "prompts": len(table.prompt_ids), "models": len(table.models),
        "decisions": len(stream), "seeds": plan.seeds, "reference": REFERENCE, "fixed": plan.options.baseline,
        "weights": {kind: getattr(plan.options, f"{kind}_weight") for kind in ("quality", "cost", "latency")},
        "feedback_rate": plan.options.feedback_rate,
        "policies": [{"name": name, **_summary(by_name[name], ours, name == REFERENCE, at)} for name in policies],
        "hindsight": [_yardstick(name, yard, ours) for name in _HINDSIGHT],
        "best_single_curve": _curve(yard, at),
    }  # fmt: skip


def points(decisions: int) -> IntArray:
    """Numbers of decisions after which a curve is read."""
    return np.unique(np.linspace(1, decisions, min(POINTS, decisions)).astype(np.int64))


def _play(
    path: Path, table: OutcomeTable, plan: LearningPlan, jobs: Sequence[tuple[str | None, int]]
) -> Iterator[tuple[tuple[str | None, int], Passed]]:
    if plan.workers == 1:
        for job in jobs:
            yield job, _passed(table, plan.options, *job)
        return
    yield from each(partial(_player, path, plan.options), jobs, plan.workers)


def _player(path: Path, options: ReplayOptions) -> Callable[[tuple[str | None, int]], Passed]:
    table = read_outcomes(path)
    return lambda job: _passed(table, options, *job)


def _passed(table: OutcomeTable, options: ReplayOptions, policy: str | None, seed: int) -> Passed:
    """A policy's pass; with None, what hindsight says of the same stream."""
    options = replace(options, policy=policy or REFERENCE, seed=seed)
    stream = stream_of(table, options)
    if policy is None:
        known = baselines(stream)
        values = {f"{name} {metric}": _number(known[name][metric]) for name in _HINDSIGHT for metric in _METRICS}
        return Passed(values, _so_far(regret(stream, best_single(stream.expected()[3]))))
    report, traces = replay(table, options)
    number = {model: k for k, model in enumerate(table.models)}
    given_up = regret(stream, np.array([number[trace.model] for trace in traces]))
    values = {metric: _number(report[f"mean_{metric}"]) for metric in _METRICS}
    values |= {
        "last_quarter_utility": _number(report["last_quarter"]["utility"]),
        "regret": float(given_up.mean()),
        "first_day_regret": report["first_day"]["regret"],
        "decisions_per_s": report["decisions_per_s"],
    }
    return Passed(values, _so_far(given_up))


def _so_far(given_up: FloatArray) -> FloatArray:
    curve: FloatArray = np.cumsum(given_up)[points(len(given_up)) - 1]
    return curve


def _summary(passes: Sequence[Passed], ours: Sequence[Passed], is_reference: bool, at: IntArray) -> dict[str, Any]:
    keys = (*_METRICS, "last_quarter_utility", "regret", "first_day_regret")
    told: dict[str, Any] = {key: _mean([passed.values[key] for passed in passes]) for key in keys}
    for key in ("utility", "last_quarter_utility"):
        told[f"{key}_beside_reference"] = None if is_reference else _paired(passes, ours, key, key)
    told["decisions_per_s"] = float(np.median([passed.values["decisions_per_s"] for passed in passes]))
    return told | {"curve": _curve(passes, at)}


def _yardstick(name: str, yard: Sequence[Passed], ours: Sequence[Passed]) -> dict[str, Any]:
    told: dict[str, Any] = {metric: _mean([seed.values[f"{name} {metric}"] for seed in yard]) for metric in _METRICS}
    return {"name": name, **told, "utility_beside_reference": _paired(yard, ours, f"{name} utility", "utility")}


def _paired(theirs: Sequence[Passed], ours: Sequence[Passed], their_key: str, our_key: str) -> Mean | None:
    """What they have more than the reference on the same streams."""
    return _mean([their.values[their_key] - our.values[our_key] for their, our in zip(theirs, ours, strict=True)])


def _curve(passes: Sequence[Passed], at: IntArray) -> list[dict[str, Any]]:
    """After so many decisions, the regret so far."""
    columns = np.array([passed.curve for passed in passes]).T
    return [{"decisions": int(n), "regret": _mean(column.tolist())} for n, column in zip(at.tolist(), columns, strict=True)]


def _mean(values: Sequence[float]) -> Mean | None:
    if not np.isfinite(values).all():
        return None
    if len(values) == 1:
        return Mean(values[0], None, None)
    found = asymptotic(np.array(values))
    return Mean(found.mean, found.low, found.high)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _with_fixed(table: OutcomeTable, plan: LearningPlan) -> ReplayOptions:
    """With the model that ``fixed`` calls: the dearest, which somebody without data would take, where none is named."""
    costs = model_means(table, table.cost_usd)
    if plan.options.baseline is not None or np.isnan(costs).all():
        return plan.options
    return replace(plan.options, baseline=table.models[int(np.nanargmax(costs))])


def _check(plan: LearningPlan) -> None:
    if plan.seeds < 1:
        raise TaskInvalid("seeds must be at least 1", field="seeds", remedy="e.g. 10: intervals need two")
    if plan.workers < 1:
        raise TaskInvalid("workers must be at least 1", field="workers", remedy="leave it out for one per processor")
    if unknown := [name for name in plan.policies if name not in POLICIES]:
        raise TaskInvalid(
            f"{len(unknown)} of the policies are not registered", field="policies", remedy=f"choose from {', '.join(POLICIES)}"
        )
    if REFERENCE not in plan.policies:
        raise TaskInvalid(f"the others are held against {REFERENCE}", field="policies", remedy=f"name {REFERENCE} too")
