"""One pass of one contender over one stream."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.learning.contenders import Entry, entry
from benchmarks.learning.contenders.protocol import Case, Prices, Score, Setup, Truth
from benchmarks.learning.problems import (
    TYPICAL_OUTPUT_TOKENS,
    TYPICAL_QUALITY,
    Problem,
    budgets,
    options,
    stream_of,
    table_of,
)
from learning.features import encode
from router.domain.hindsight import means
from router.domain.outcome_stream import Stream, model_means
from router.domain.outcome_table import FloatArray, IntArray, OutcomeTable
from router.domain.published import arena_rating
from router.services.replay import replay

LOG_TOKENS = 1
"""Place of the log context tokens among Pointsman's features; the peers get the same number."""
_TYPICAL_CALL_TOKENS = 1_340.0
_TYPICAL_RATING, _PER_RATING_POINT = 1_250.0, 0.07 / 100.0
"""What Pointsman's prior makes of a published rating."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one contender chose on one stream, and how long it took."""

    chosen: IntArray
    """(n,)"""
    seconds: float
    """CPU time: the machine may be shared."""
    incidents: list[dict[str, Any]] | None = None
    """What a contender reported on the way; None where it reports nothing at all."""


def play(problem: Problem, contender: str, seed: int) -> Pass:
    """Make the pass."""
    found = entry(contender)
    if found.build is None:
        return _pointsman(problem, found, seed)
    stream = stream_of(problem, seed)
    table = stream.table
    x, task = features(table)
    setup = Setup(
        models=table.models,
        n_tasks=int(task.max()) + 1,
        n_features=x.shape[1],
        seed=seed,
        cost_weight=problem.cost_weight,
        c_ref=stream.c_ref,
        budget_usd=None if problem.budget is None else float(budgets(table)[problem.budget]),
        warm=_warm(table, x, seed) if found.warm else None,
        truth=_truth(stream, task) if found.yardstick else None,
    )
    prices, guesses = _list_prices(table), _Guess(stream)
    chosen = np.zeros(len(stream), dtype=np.int64)
    peer, period = found.build(setup), -1
    offered = [np.flatnonzero(r >= 0) for r in stream.row]
    started = time.process_time()
    for i in range(len(stream)):
        if stream.period[i] != period:
            period = int(stream.period[i])
            coming = (stream.row[stream.period == period] >= 0).any(axis=0)
            now = prices * stream.price[period][:, None]
            peer.enter(Prices(now[:, 0], now[:, 1], coming))
        prompt = stream.prompt[i]
        case = Case(x[prompt], int(task[prompt]), offered[i], guesses.at(i))
        m = peer.choose(case)
        chosen[i] = m
        if not np.isnan(stream.cost[i, m]):
            peer.paid(float(stream.cost[i, m]))
        if stream.told[i]:
            peer.learn(case, m, Score(float(stream.quality[i, m]), float(stream.utility[i, m])))
    return Pass(chosen, time.process_time() - started)


def _pointsman(problem: Problem, found: Entry, seed: int) -> Pass:
    table = table_of(problem, seed, found.texts)
    asked = replace(options(problem, seed, found.policy), text=found.texts != "off")
    started = time.process_time()
    report, traces = replay(table, asked)
    seconds = time.process_time() - started
    place = {m: k for k, m in enumerate(table.models)}
    return Pass(np.array([place[t.model] for t in traces]), seconds, report.get("incidents"))


def features(table: OutcomeTable) -> tuple[FloatArray, IntArray]:
    """(P, d) task type one-hot, log context tokens and 1, for every prompt; and (P,) the task type."""
    _, task = np.unique(np.array(table.task_types, dtype=object).astype(str), return_inverse=True)
    size = np.array([encode(int(t))[LOG_TOKENS] for t in table.context_tokens])
    return np.column_stack([np.eye(int(task.max()) + 1)[task], size, np.ones(len(task))]), task


def _list_prices(table: OutcomeTable) -> FloatArray:
    """(K, 2) USD per token; where a model's price cannot be told from its bills, their mean over a typical call stands for it."""
    prices = table.list_prices()
    unknown = np.isnan(prices).any(axis=1)
    prices[unknown] = (model_means(table, table.cost_usd) / _TYPICAL_CALL_TOKENS)[unknown, None]
    return prices


class _Guess:
    """(K,) utility that public facts promise for a decision."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.prices = stream, np.nan_to_num(_list_prices(stream.table))
        self.cost_per_usd = stream.weights.cost / stream.c_ref
        ratings = [arena_rating(m) for m in stream.table.models]
        self.quality = TYPICAL_QUALITY + np.array([0.0 if r is None else _PER_RATING_POINT * (r - _TYPICAL_RATING) for r in ratings])

    def at(self, i: int) -> FloatArray:
        stream = self.stream
        tokens = np.array([float(stream.table.context_tokens[stream.prompt[i]]), TYPICAL_OUTPUT_TOKENS])
        cost = (self.prices @ tokens) * stream.price[stream.period[i]]
        guess: FloatArray = self.quality - self.cost_per_usd * cost
        return guess


def _truth(stream: Stream, task: IntArray) -> Truth:
    kind = task[stream.prompt]
    cells = [stream.quality[kind == t] for t in range(int(task.max()) + 1)]
    cost = [stream.cost[kind == t] for t in range(len(cells))]
    return Truth(
        quality=np.array([means(c) for c in cells]).T,
        cost=np.array([means(c) for c in cost]).T,
        noise=np.array([np.nanmean((c - means(c)) ** 2) for c in cells]),
    )


def _warm(table: OutcomeTable, x: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    prompts = np.random.default_rng([seed, 8]).choice(len(x), max(1, len(x) // 10), replace=False)
    return x[prompts], table.means(table.quality)[prompts]
