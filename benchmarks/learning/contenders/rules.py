"""Simple rules in a few lines of our own: epsilon-greedy and the rule of LiteLLM's adaptive router."""

import numpy as np

from benchmarks.learning.contenders.protocol import Case, Plain, Prices, Score, Setup, best_offered
from router.domain.outcome_table import FloatArray


class Uniform(Plain):
    """Any model on offer."""

    def __init__(self, setup: Setup) -> None:
        self.rng = np.random.default_rng([setup.seed, 11])

    def choose(self, case: Case) -> int:
        return int(self.rng.choice(case.offered))

    def learn(self, case: Case, model: int, score: Score) -> None:
        """Nothing."""


class EpsilonGreedy(Plain):
    """Means per task type and model; any model with probability ``epsilon``.

    With ``informed`` every mean begins at the public guess, worth two scores; else at the first score, and untried models come first.
    """

    def __init__(self, setup: Setup, epsilon: float = 0.1, informed: bool = False) -> None:
        self.rng, self.epsilon, self.informed = np.random.default_rng([setup.seed, 12]), epsilon, informed
        self.total, self.n = np.zeros((setup.n_tasks, len(setup.models))), np.zeros((setup.n_tasks, len(setup.models)))

    def choose(self, case: Case) -> int:
        if self.rng.random() < self.epsilon:
            return int(self.rng.choice(case.offered))
        total, n = self.total[case.task], self.n[case.task]
        if self.informed:
            return best_offered((total + 2.0 * case.guess) / (n + 2.0), case)
        return best_offered(np.where(n > 0, total / np.maximum(n, 1.0), np.inf), case)

    def learn(self, case: Case, model: int, score: Score) -> None:
        self.total[case.task, model] += score.utility
        self.n[case.task, model] += 1.0


class LiteLLMRule:
    """Beta per task type and model, Thompson-sampled, with a cheapness bonus; updates are dropped once a Beta weighs 200.

    Written after the constants and comments of litellm/router_strategy/adaptive_router: cold-start mass 10, prior means .3, .5 and
    .7 by quality tier (here: the thirds of the list prices), score = w_q * draw + w_c * (1 at the cheapest list price, 0 at the dearest).
    """

    MASS, CAP, TIERS = 10.0, 200.0, (0.3, 0.5, 0.7)

    def __init__(self, setup: Setup, quality_weight: float = 1.0, cost_weight: float | None = None) -> None:
        self.rng, self.setup = np.random.default_rng([setup.seed, 13]), setup
        self.weights = (quality_weight, setup.cost_weight if cost_weight is None else cost_weight)
        self.alpha = np.zeros((setup.n_tasks, len(setup.models)))
        self.beta = np.zeros_like(self.alpha)
        self.cheap: FloatArray = np.full(len(setup.models), 0.5)

    def enter(self, prices: Prices) -> None:
        price = (prices.input + prices.output) / 2
        known = ~np.isnan(price)
        if known.sum() > 1 and np.nanmax(price) > np.nanmin(price):
            self.cheap = np.where(known, 1.0 - (price - np.nanmin(price)) / (np.nanmax(price) - np.nanmin(price)), 0.5)
        if not self.alpha.any():
            mean = np.full(len(price), self.TIERS[1])
            if known.any():
                thirds = np.nanquantile(price, [1 / 3, 2 / 3])
                mean[known] = np.array(self.TIERS)[np.searchsorted(thirds, price[known], side="right")]
            self.alpha[:], self.beta[:] = mean * self.MASS, (1 - mean) * self.MASS

    def choose(self, case: Case) -> int:
        drawn = self.rng.beta(self.alpha[case.task], self.beta[case.task])
        return best_offered(self.weights[0] * drawn + self.weights[1] * self.cheap, case)

    def paid(self, usd: float) -> None:
        """Prices are all it knows."""

    def learn(self, case: Case, model: int, score: Score) -> None:
        if self.alpha[case.task, model] + self.beta[case.task, model] + 1.0 <= self.CAP:
            self.alpha[case.task, model] += score.quality
            self.beta[case.task, model] += 1.0 - score.quality
