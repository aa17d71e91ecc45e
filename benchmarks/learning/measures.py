"""From choices to numbers: what a pass brought, what hindsight would have, and what its own shares are worth without knowing the tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq, linprog

from benchmarks.learning.design import Cell
from benchmarks.learning.problems import stream_of
from benchmarks.learning.results import Results, key_of
from router.domain.hindsight import best_per_task, best_single, first_offered, means
from router.domain.outcome_stream import Stream
from router.domain.outcome_table import FloatArray, IntArray

METRICS = ("quality", "cost_usd", "utility", "last_quality", "last_utility")
SHUFFLED = "shuffled control"
HINDSIGHT = ("best single", "best per task", "oracle", SHUFFLED)


@dataclass(slots=True)
class Scores:
    """One contender in one cell: an array over seeds per metric."""

    values: dict[str, FloatArray]
    ms_per_decision: float = float("nan")
    chosen: list[IntArray] = field(default_factory=list)
    incidents: list[list[dict[str, object]] | None] = field(default_factory=list)

    def __getitem__(self, metric: str) -> FloatArray:
        return self.values[metric]

    @property
    def seeds(self) -> int:
        """How many were played."""
        return len(self.values["quality"])


def task_of(stream: Stream) -> IntArray:
    """(n,) number of each decision's task type."""
    _, task = np.unique(np.array(stream.table.task_types, dtype=object)[stream.prompt].astype(str), return_inverse=True)
    return task


def of_choice(stream: Stream, chosen: IntArray) -> dict[str, float]:
    """The metrics of one pass."""
    at = (np.arange(len(stream)), chosen)
    return of_columns(stream.quality[at], stream.cost[at], stream.utility[at])


def of_columns(quality: FloatArray, cost: FloatArray, utility: FloatArray) -> dict[str, float]:
    """The metrics of (n,) columns."""
    last = slice(-max(1, len(quality) // 4), None)
    return {
        "quality": float(quality.mean()),
        "cost_usd": float(np.nanmean(cost)) if not np.isnan(cost).all() else float("nan"),
        "utility": float(utility.mean()),
        "last_quality": float(quality[last].mean()),
        "last_utility": float(utility[last].mean()),
    }


def hindsight(stream: Stream) -> dict[str, dict[str, float]]:
    """Best single model, best per task type and oracle: chosen on expectations over repeated rows, scored on the rows of the stream."""
    expected = stream.expected()[3]
    choices = {
        "best single": best_single(expected),
        "best per task": best_per_task(expected, task_of(stream)),
        "oracle": np.argmax(np.nan_to_num(stream.utility, nan=-np.inf), axis=1),
    }
    return {name: of_choice(stream, choice) for name, choice in choices.items()}


def shuffled_control(stream: Stream, chosen: IntArray) -> dict[str, float]:
    """What a pass's own shares of models bring when they are dealt to the decisions at random, at the cost of the pass.

    Every decision draws from one and the same mix of models, so nothing is known of its task type: the mix is the pass's shares s_m, tilted
    to s_m exp(-l c_m) with the l at which the expected cost equals the pass's. In closed form: the mean over all shuffles.
    """
    offered = stream.row >= 0
    shares = np.bincount(chosen, minlength=offered.shape[1]) / len(chosen)
    cost = stream.cost
    spent = float(np.nanmean(cost[np.arange(len(stream)), chosen])) if not np.isnan(cost).all() else float("nan")
    scale = stream.c_ref if stream.c_ref > 0 else 1.0
    known = ~np.isnan(cost).any(axis=1, where=offered)
    mean_cost = np.nan_to_num(means(cost))

    def mix(tilt: float) -> FloatArray:
        weight = shares * np.exp(-tilt * (mean_cost - mean_cost.min()) / scale) * offered
        empty = weight.sum(axis=1) == 0
        weight[empty] = offered[empty]
        out: FloatArray = weight / weight.sum(axis=1, keepdims=True)
        return out

    def over(tilt: float) -> float:
        return float((mix(tilt) * np.nan_to_num(cost)).sum(axis=1).mean()) - spent

    tilt = 0.0
    if known.all() and np.isfinite(spent) and (shares > 0).sum() > 1:
        low, high = over(50.0), over(-50.0)
        tilt = float(brentq(over, -50.0, 50.0, xtol=1e-6)) if low < 0 < high else 0.0
    weight = mix(tilt)
    quality, paid, utility = ((weight * np.nan_to_num(c)).sum(axis=1) for c in (stream.quality, cost, stream.utility))
    return of_columns(quality, paid, utility)


def read(cell: Cell, results: Results) -> dict[str, Scores]:
    """Everyone's scores in a cell, hindsight and control included; contenders without a finished pass are left out."""
    made: dict[str, Scores] = {}
    streams = {s: stream_of(cell.problem, s) for s in range(cell.seeds)}
    for name in cell.contenders:
        rows, seconds, chosen, incidents = [], 0.0, [], []
        for seed in range(cell.seeds_of(name)):
            found = results.get(key_of(cell.problem, name, seed))
            if found is None:
                break
            rows.append(of_choice(streams[seed], found.chosen))
            seconds += found.seconds / len(streams[seed])
            chosen.append(found.chosen)
            incidents.append(found.incidents)
        if rows:
            made[name] = Scores(_columns(rows), 1000 * seconds / len(rows), chosen, incidents)
    played = [streams[s] for s in range(cell.seeds)]
    known = [hindsight(s) for s in played]
    for name in HINDSIGHT[:3]:
        made[name] = Scores(_columns([k[name] for k in known]))
    if "pointsman" in made:
        made[SHUFFLED] = Scores(_columns([shuffled_control(s, c) for s, c in zip(played, made["pointsman"].chosen, strict=False)]))
    return made


def _columns(rows: list[dict[str, float]]) -> dict[str, FloatArray]:
    return {m: np.array([r[m] for r in rows]) for m in METRICS}


def singles(stream: Stream) -> tuple[FloatArray, FloatArray]:
    """(K,) mean cost and (K,) mean quality of every model alone, over the decisions it is offered in."""
    return means(stream.cost), means(stream.quality)


def fixed_rules(stream: Stream) -> tuple[FloatArray, FloatArray]:
    """Mean cost and mean quality of single models, over the same decisions for all.

    Where models are missing from decisions, a single model cannot serve them all, and those in which it is offered may be the easier
    ones. There the rules are rankings of the models by mean quality less a price on mean cost, one for every order that a price brings
    about; each decision goes to the first model that it offers.
    """
    cost, quality = singles(stream)
    offered = stream.row >= 0
    if offered.all():
        return cost, quality
    known = np.flatnonzero(~(np.isnan(cost) | np.isnan(quality)))
    dearer, better = cost[known][:, None] - cost[known], quality[known][:, None] - quality[known]
    traded = (dearer > 0) & (better > 0)
    swaps = np.unique(better[traded] / dearer[traded])
    prices = np.concatenate([[0.0], (swaps[1:] + swaps[:-1]) / 2, 2.0 * swaps[-1:]])
    value = np.nan_to_num(quality - prices[:, None] * cost, nan=-np.inf)
    rules = [first_offered(np.argsort(-v, kind="stable"), offered) for v in value]
    at = np.arange(len(stream))
    return np.array([stream.cost[at, r].mean() for r in rules]), np.array([stream.quality[at, r].mean() for r in rules])


def hull(cost: FloatArray, quality: FloatArray, at: float) -> float:
    """Highest quality that a mix of single models reaches at a mean cost of ``at``; the cheapest model's below its cost."""
    keep = ~(np.isnan(cost) | np.isnan(quality))
    points = sorted(zip(cost[keep].tolist(), quality[keep].tolist(), strict=True))
    best = max((q for c, q in points if c <= at), default=points[0][1])
    for c0, q0 in points:
        for c1, q1 in points:
            if c0 <= at < c1:
                best = max(best, q0 + (q1 - q0) * (at - c0) / (c1 - c0))
    return best


def task_mix(stream: Stream, at: float) -> float:
    """Highest quality that a mix of models per task type reaches in hindsight at a mean cost of ``at``: a linear programme."""
    task = task_of(stream)
    n_tasks, k = int(task.max()) + 1, stream.quality.shape[1]
    share = np.bincount(task) / len(task)
    quality = np.array([means(stream.quality[task == t]) for t in range(n_tasks)])
    cost = np.array([means(stream.cost[task == t]) for t in range(n_tasks)])
    usable = ~(np.isnan(quality) | np.isnan(cost))
    value, price = np.where(usable, quality, 0.0) * share[:, None], np.where(usable, cost, 1e6) * share[:, None]
    found = linprog(
        -value.ravel(),
        A_ub=price.reshape(1, -1) / at,
        b_ub=[1.0],
        A_eq=np.kron(np.eye(n_tasks), np.ones(k)),
        b_eq=np.ones(n_tasks),
    )
    return float(-found.fun) if found.success else float("nan")


def mean_of(scores: Mapping[str, Scores], name: str, metric: str) -> float:
    """Mean over seeds."""
    return float(scores[name][metric].mean())
