"""How far could any cold start get? A sampler that begins where no learner can: with the table's own spread as its prior."""

import math

import numpy as np

from benchmarks.learning.contenders.protocol import Case, Prices, Score, Setup, best_offered
from learning.pacing import Pacer
from router.domain.hindsight import means
from router.domain.outcome_table import FloatArray


class InformedSampler:
    """Thompson sampling, exact for Gaussians, whose prior was read off the whole table.

    It knows how easy each task type is, how much models differ, what their price says of them, how much a model differs from type to type,
    the noise of a score and every cost; not which model is which. What it loses is what it takes to find that out. Budgets are kept by
    Pointsman's pacer.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.truth is None:
            raise ValueError("the informed sampler needs the truth of the table")
        truth, k = setup.truth, len(setup.models)
        self.rng = np.random.default_rng([setup.seed, 14])
        self.cost = truth.cost
        self.per_usd = setup.cost_weight / setup.c_ref if setup.cost_weight else 0.0
        self.pacer = None if setup.budget_usd is None else Pacer(setup.budget_usd)
        self.noise = truth.noise
        self.tempered = min(1.0, 1.0 / math.sqrt(2.0 * math.log(k)))
        ease = np.nanmean(truth.quality, axis=0)
        rest = truth.quality - ease
        level = means(rest.T)
        line = _price_line(level, means(truth.cost.T))
        own = np.nanvar(rest - level[:, None])
        self.mean = ease + line[:, None]
        self.covariance = np.tile(np.nanvar(level - line) + own * np.eye(setup.n_tasks), (k, 1, 1))

    def enter(self, prices: Prices) -> None:
        """Costs are known."""

    def choose(self, case: Case) -> int:
        t, here = case.task, case.offered
        mean, sd, per_usd = self.mean[:, t], np.sqrt(self.covariance[:, t, t]), self.per_usd
        if self.pacer is not None:
            per_usd += self.pacer.price(mean[here], sd[here], self.cost[here, t])
        charge = np.nan_to_num(per_usd * self.cost[:, t])
        return best_offered(mean - charge + self.tempered * sd * self.rng.standard_normal(len(sd)), case)

    def paid(self, usd: float) -> None:
        if self.pacer is not None:
            self.pacer.settle(usd)

    def learn(self, case: Case, model: int, score: Score) -> None:
        t, covariance = case.task, self.covariance[model]
        column = covariance[:, t].copy()
        total = column[t] + self.noise[t]
        self.mean[model] += column * (score.quality - self.mean[model, t]) / total
        covariance -= np.outer(column, column) / total


def _price_line(level: FloatArray, cost: FloatArray) -> FloatArray:
    """(K,) level that a model's mean cost foretells; the mean level where too few costs are known, or a model's is not."""
    line = np.full(len(level), np.nanmean(level))
    known = (cost > 0) & ~np.isnan(level)
    if known.sum() > 2 and np.ptp(cost[known]) > 0:
        line[known] = np.polyval(np.polyfit(np.log(cost[known]), level[known], 1), np.log(cost[known]))
        others = ~known & ~np.isnan(level)
        line[~known] = level[others].mean() if others.any() else 0.0
    return line
