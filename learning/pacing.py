"""Budget pacing: a price on money that keeps the mean cost per request at a budget.

"Maximise utility with mean cost <= B" has the Lagrangian u - l c: a request takes the model with the highest utility less l times its
expected cost in USD (contextual bandits with knapsacks, arXiv:2211.07484). The multiplier acts on each request's own predicted dollars,
never on their logarithm, which would leave the efficient frontier. Instead of searching for l by trial, which makes it swing and every
swing costs quality, it is solved for: over the latest requests, whose predictions are kept, the smallest l >= 0 at which

    mean over requests of  g c_i(model drawn under l)  <=  B + (B n - spent) / h,

g being what is really paid for a predicted dollar, and the last term paying back over the next h requests what was spent too much or too
little. The model is the best of utilities *sampled* from their beliefs, because exploration spends too: a price that knew only of the best
guess would be too low to keep dear trials away, and the cheap good models would have to pay for them.
"""

import math
from collections import deque

import numpy as np

from learning.arrays import FloatArray
from learning.errors import InvalidContext

_REMEMBERED = 256
"""Requests over which the multiplier is solved."""
_SAMPLES = 2
"""Of the utilities of each."""
_SOLVE_EVERY = 8
_PAY_BACK = 100.0
"""h: requests over which a difference is made up, at least; an eighth of all requests so far where that is more."""
_GAIN_MEMORY = 300.0
"""Requests behind the estimate of g."""
_GAIN_PRIOR = 100.0
"""Requests at g = 1 that the estimate begins with. They are forgotten like the others: kept, they would hold g off the truth for good."""
_TARGET_RANGE = (0.75, 1.3)
"""In budgets: however much was saved or overspent, the next requests stay within."""
_HALVINGS = 40
_MOST = 3.0
"""Utility that a whole budget may cost at most."""


class Pacer:
    """Keeps one budget.

    Parameters
    ----------
    budget : float
        USD per request, > 0.
    """

    def __init__(self, budget: float) -> None:
        if not (math.isfinite(budget) and budget > 0):
            raise InvalidContext("the budget must be a positive number of USD per request")
        self.budget = budget
        self.balance = 0.0
        """USD saved so far; negative where overspent."""
        self._latest: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=_SAMPLES * _REMEMBERED)
        self._since = 0
        self._settled = 0
        self._paid = 0.0
        self._predicted = 0.0
        self._multiplier = 0.0
        self._rng = np.random.default_rng(0)

    @property
    def utility_per_usd(self) -> float:
        """What one USD costs in utility, on top of the request's own weight."""
        return self._multiplier

    @property
    def target(self) -> float:
        """USD that the next requests may cost on average."""
        low, high = _TARGET_RANGE
        horizon = max(_PAY_BACK, self._settled / 8.0)
        return min(max(self.budget + self.balance / horizon, low * self.budget), high * self.budget)

    @property
    def gain(self) -> float:
        """g: USD paid for a USD predicted."""
        weight = (1.0 + _GAIN_PRIOR * math.exp(-self._settled / _GAIN_MEMORY)) * self.budget
        return min(max((self._paid + weight) / (self._predicted + weight), 0.2), 5.0)

    def price(self, utility: FloatArray, sd: FloatArray, cost: FloatArray) -> float:
        """Utility that one USD costs for the request at hand.

        Parameters
        ----------
        utility, sd, cost : FloatArray
            (n,) expected utility before this price with its standard deviation, and expected USD, of the models that may serve it; a cost
            may be NaN (unknown).
        """
        known = ~np.isnan(cost)
        if known.any():
            width = sd[known] / math.sqrt(2.0 * math.log(max(len(cost), 2)))  # as ``policies.thompson`` tempers it
            paid = cost[known]
            samples = [utility[known] + width * self._rng.standard_normal(len(width)) for _ in range(_SAMPLES)]
            self._latest.extend((sample, paid) for sample in samples)
            if self._since % _SOLVE_EVERY == 0:
                self._multiplier = self._solve()
            self._since += 1
            drawn = [int(np.argmax(sample - self._multiplier * paid)) for sample in samples]
            self._predicted += float(paid[drawn].mean()) - self._predicted / _GAIN_MEMORY
        return self._multiplier

    def aim(self, budget: float) -> None:
        """Keep another budget from now on, in USD per request, > 0; what was saved or overspent until now is in it."""
        self.budget = budget
        self.balance = 0.0

    def settle(self, cost: float) -> None:
        """Take in what one request cost in USD."""
        self.balance += self.budget - cost
        self._settled += 1
        self._paid += cost - self._paid / _GAIN_MEMORY

    def _solve(self) -> float:
        n, width = len(self._latest), max(len(u) for u, _ in self._latest)
        utility, cost = np.full((n, width), -np.inf), np.zeros((n, width))
        for i, (u, c) in enumerate(self._latest):
            utility[i, : len(u)], cost[i, : len(c)] = u, c
        allowed, rows = self.target / self.gain, np.arange(n)

        def spends(multiplier: float) -> float:
            return float(cost[rows, np.argmax(utility - multiplier * cost, axis=1)].mean())

        if spends(0.0) <= allowed:
            return 0.0
        low, high = 0.0, 0.1 / self.budget
        while spends(high) > allowed and high < _MOST / self.budget:
            low, high = high, min(4.0 * high, _MOST / self.budget)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if spends(middle) > allowed else (low, middle)
            if high - low <= 1e-3 * high:
                break
        return high
