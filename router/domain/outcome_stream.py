"""One pass over a table of recorded outcomes: what each decision offers, and what each offered model would bring."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from router.domain.outcome_table import FloatArray, IntArray, OutcomeTable
from router.errors import TaskInvalid

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Weights:
    """utility = quality * q - cost * usd / c_ref - latency * s / t_ref."""

    quality: float = 1.0
    cost: float = 0.0
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """From the share ``after`` of the pass on, one model is different. A later change of the same model replaces the earlier one."""

    model: str
    after: float
    """In [0, 1]; 0 from the first decision on."""
    price: float = 1.0
    """Factor on its recorded costs and its list price, > 0; the router is told, as it is of a price."""
    kept: float = 1.0
    """Share of its scores that stay, in [0, 1]; the others become 0, and nobody says so."""
    offered: bool = True


@dataclass(frozen=True, slots=True)
class Stream:
    """n decisions over the K models of a table, in order."""

    table: OutcomeTable
    weights: Weights
    prompt: IntArray
    """(n,)"""
    row: IntArray
    """(n, K) row of the table that the model reveals; -1 where it is not offered."""
    told: BoolArray
    """(n,) whether the score is told."""
    period: IntArray
    """(n,) number of the stretch between two changes."""
    price: FloatArray
    """(periods, K) factor on the recorded costs and list prices."""
    kept: FloatArray
    """(periods, K) share of the scores that stay."""
    quality: FloatArray
    """(n, K), nan where not offered, as the three below."""
    cost: FloatArray
    """(n, K) USD with gaps filled by the model's mean; nan also for a model that never shows a cost."""
    latency: FloatArray
    """(n, K) seconds, filled likewise."""
    utility: FloatArray
    """(n, K)"""
    c_ref: float
    """USD: mean cost of the dearest model."""
    t_ref: float
    """Seconds: mean latency of the slowest model."""

    def __len__(self) -> int:
        return len(self.prompt)

    def take(self, decisions: IntArray) -> "Stream":
        """Some of the decisions, in the order given."""
        kept = ("prompt", "row", "told", "period", "quality", "cost", "latency", "utility")
        return replace(self, **{name: getattr(self, name)[decisions] for name in kept})

    def set_aside(self, per_task_type: int) -> "tuple[Stream, Stream]":
        """The last few decisions of every task type, for a battery, and the others, which keep their order."""
        task = np.array(self.table.task_types, dtype=object)[self.prompt]
        aside = [i for name in sorted(set(task.tolist())) for i in np.flatnonzero(task == name)[-per_task_type:].tolist()]
        battery = np.array(sorted(aside), dtype=np.int64)
        return self.take(battery), self.take(np.setdiff1d(np.arange(len(self)), battery))

    def expected(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(n, K) quality, cost, latency and utility in expectation over a prompt's repeated rows; nan where not offered."""
        table, hidden = self.table, self.row < 0
        quality, cost, latency = (
            np.where(hidden, np.nan, table.means(column)[self.prompt])
            for column in (table.quality, _filled(table, table.cost_usd), _filled(table, table.latency_s))
        )
        quality, cost = quality * self.kept[self.period], cost * self.price[self.period]
        return quality, cost, latency, _utility(self.weights, self.c_ref, self.t_ref, quality, cost, latency)


def lay_out(
    table: OutcomeTable,
    weights: Weights,
    *,
    seed: int = 0,
    shuffle: bool = True,
    feedback_rate: float = 1.0,
    needs_cost: bool = False,
    changes: Sequence[Change] = (),
) -> Stream:
    """Lay out a pass. A prompt comes as often as the model that answered it most often; its repeated rows are drawn in turn.

    With ``needs_cost`` models that never show a cost are not offered, as where cost weighs. Decisions without a model are left out.
    Raises ``TaskInvalid`` where a change names no model of the table or is out of range.
    """
    _check(table, changes)
    mean_cost, mean_latency = model_means(table, table.cost_usd), model_means(table, table.latency_s)
    usable = np.ones(len(table.models), dtype=bool)
    if weights.cost or needs_cost:
        usable &= ~np.isnan(mean_cost)
    if weights.latency:
        usable &= ~np.isnan(mean_latency)
    prompt, visit = _visits(table, seed if shuffle else None)
    begin, price, kept, offered = _periods(table, changes)
    period = np.searchsorted(begin, np.arange(len(prompt)) / len(prompt), side="right") - 1
    count = table.count[prompt]
    row = np.where(
        (count > 0) & usable & offered[period],
        table.order[np.minimum(table.first[prompt] + visit[:, None] % np.maximum(count, 1), table.n_rows - 1)],
        -1,
    )
    answered = (row >= 0).any(axis=1)
    prompt, row, period = prompt[answered], row[answered], period[answered]
    stays = np.random.default_rng([seed, 2]).random(table.n_rows)
    quality = np.where(stays[row] < kept[period], table.quality[row], 0.0)
    cost = _filled(table, table.cost_usd)[row] * price[period]
    latency = _filled(table, table.latency_s)[row]
    for column in (quality, cost, latency):
        column[row < 0] = np.nan
    c_ref = 1.0 if np.isnan(mean_cost).all() else float(np.nanmax(mean_cost))
    t_ref = 1.0 if np.isnan(mean_latency).all() else float(np.nanmax(mean_latency))
    told = np.random.default_rng([seed, 1]).random(len(prompt)) < feedback_rate
    utility = _utility(weights, c_ref, t_ref, quality, cost, latency)
    return Stream(table, weights, prompt, row, told, period, price, kept, quality, cost, latency, utility, c_ref, t_ref)


def model_means(table: OutcomeTable, values: FloatArray) -> FloatArray:
    """(K,) mean of a column over a model's rows; nan where it never shows."""
    model = table.model_of_row
    known = ~np.isnan(values)
    n = np.bincount(model[known], minlength=len(table.models))
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.bincount(model[known], values[known], minlength=len(table.models)) / n
    return mean


def _check(table: OutcomeTable, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.model not in table.models:
            raise TaskInvalid(
                "a change names a model that the table does not have", field="model", remedy=f"e.g. {', '.join(table.models[:8])}"
            )
        if not (0 <= change.after <= 1 and 0 <= change.kept <= 1 and math.isfinite(change.price) and change.price > 0):
            raise TaskInvalid("a change is out of range", field="change", remedy="after and kept lie in [0, 1], price is a positive factor")


def _visits(table: OutcomeTable, seed: int | None) -> tuple[IntArray, IntArray]:
    most = table.count.max(axis=1)
    prompt = np.concatenate([np.flatnonzero(most > v) for v in range(int(most.max()))])
    visit = np.concatenate([np.full(int((most > v).sum()), v) for v in range(int(most.max()))])
    if seed is not None:
        order = np.random.default_rng([seed, 0]).permutation(len(prompt))
        prompt, visit = prompt[order], visit[order]
    return prompt, visit


def _periods(table: OutcomeTable, changes: Sequence[Change]) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Begin of every period as a share of the pass, and per period and model the price, the kept share and whether it is offered."""
    begin = np.array(sorted({0.0, *(change.after for change in changes)}))
    shape = (len(begin), len(table.models))
    price, kept, offered = np.ones(shape), np.ones(shape), np.ones(shape, dtype=bool)
    for change in sorted(changes, key=lambda c: c.after):
        k, since = table.models.index(change.model), begin >= change.after
        price[since, k], kept[since, k], offered[since, k] = change.price, change.kept, change.offered
    return begin, price, kept, offered


def _filled(table: OutcomeTable, values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), model_means(table, values)[table.model_of_row], values)


def _utility(weights: Weights, c_ref: float, t_ref: float, quality: FloatArray, cost: FloatArray, latency: FloatArray) -> FloatArray:
    utility = weights.quality * quality
    if weights.cost:
        utility = utility - weights.cost * cost / c_ref
    if weights.latency:
        utility = utility - weights.latency * latency / t_ref
    return utility
