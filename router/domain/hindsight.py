"""What fixed rules would have got on the decisions of a pass: the yardsticks of every learner."""

import math
from typing import Any

import numpy as np

from router.domain.outcome_stream import Stream
from router.domain.outcome_table import FloatArray, IntArray


def summary(quality: FloatArray, cost: FloatArray, latency: FloatArray, utility: FloatArray) -> dict[str, float | None]:
    """Means over decisions; None where nothing is known."""

    def mean(values: FloatArray) -> float | None:
        return None if np.isnan(values).all() else float(np.nanmean(values))

    return {"quality": mean(quality), "cost_usd": mean(cost), "latency_s": mean(latency), "utility": mean(utility)}


def means(column: FloatArray) -> FloatArray:
    """(K,) means over (n, K) decisions; nan for a model that is never offered."""
    known = ~np.isnan(column)
    mean: FloatArray = np.where(known.any(axis=0), np.nansum(column, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    return mean


def best_single(utility: FloatArray) -> IntArray:
    """(n,) the one model with the highest mean and, where it is not offered, the next in the ranking; ``utility`` is (n, K)."""
    ranking = _ranking(utility)
    covered = ~np.isnan(utility)
    coverage = covered.mean(axis=0)
    best, choice = -math.inf, ranking
    for k in np.flatnonzero(coverage >= min(0.5, coverage.max())).tolist():
        order = np.concatenate([[k], ranking[ranking != k]])
        picked = first_offered(order, covered)
        value = float(np.take_along_axis(utility, picked[:, None], axis=1).mean())
        if value > best:
            best, choice = value, picked
    return choice


def best_per_task(utility: FloatArray, task: IntArray) -> IntArray:
    """(n,) the model with the highest mean per task type, likewise; ``task`` (n,)."""
    choice = np.zeros(len(task), dtype=np.int64)
    for t in np.unique(task):
        inside = task == t
        choice[inside] = best_single(utility[inside])
    return choice


def _ranking(utility: FloatArray) -> IntArray:
    return np.argsort(-np.nan_to_num(means(utility), nan=-np.inf), kind="stable")


def first_offered(ranking: IntArray, covered: "np.ndarray[Any, np.dtype[np.bool_]]") -> IntArray:
    """(n,) the highest in a ranking (K,) among the models that each decision offers, ``covered`` (n, K)."""
    picked: IntArray = ranking[covered[:, ranking].argmax(axis=1)]
    return picked


def regret(stream: Stream, chosen: IntArray) -> FloatArray:
    """(n,) what each choice gives up against the best offered model of its task type in hindsight, by the means of the whole stream."""
    utility = stream.expected()[3]
    _, task = np.unique(np.array(stream.table.task_types, dtype=object)[stream.prompt].astype(str), return_inverse=True)
    given_up = np.empty(len(stream))
    for t in np.unique(task):
        inside = task == t
        mean = means(utility[inside])
        offered = np.where(np.isnan(utility[inside]), -np.inf, mean)
        given_up[inside] = offered.max(axis=1) - mean[chosen[inside]]
    return given_up


def baselines(stream: Stream, baseline: str | None = None) -> dict[str, Any]:
    """Random, best single, best per task type and oracle in hindsight, and every model alone where it is offered.

    In expectation over a prompt's repeated rows, on the decisions of the stream.
    """
    table = stream.table
    columns = stream.expected()
    utility = columns[3]
    covered = ~np.isnan(utility)

    def at(choice: IntArray) -> dict[str, float | None]:
        return summary(*(np.take_along_axis(c, choice[:, None], axis=1)[:, 0] for c in columns))

    def evenly(column: FloatArray) -> FloatArray:
        known = ~np.isnan(column)
        with np.errstate(invalid="ignore"):
            mean: FloatArray = np.nansum(column, axis=1) / known.sum(axis=1)
        return mean

    single = {m: summary(*(c[covered[:, k], k] for c in columns)) for k, m in enumerate(table.models) if covered[:, k].any()}
    alone = best_single(utility)
    _, task = np.unique(np.array(table.task_types, dtype=object)[stream.prompt].astype(str), return_inverse=True)
    report: dict[str, Any] = {
        "random": summary(*(evenly(c) for c in columns)),
        "best_single": {"model": table.models[int(np.bincount(alone).argmax())], **at(alone)},
        "best_per_task": at(best_per_task(utility, task)),
        "oracle": at(np.argmax(np.nan_to_num(utility, nan=-np.inf), axis=1)),
        "singles": single,
    }
    if baseline is not None:
        report["baseline"] = {"model": baseline, **single[baseline]}
    return report
