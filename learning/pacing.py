"""Budget pacing: a price on money that keeps the mean cost per request at a budget.

Dual ascent on the Lagrangian of "maximise utility with mean cost <= budget" (contextual bandits with knapsacks, arXiv:2211.07484).
The multiplier acts on the predicted cost of each request in USD, never on its logarithm, which would leave the efficient frontier.
"""

import math

from learning.errors import InvalidContext

_STEP = 0.02
_SMOOTHING = 0.05
_START = 0.05
_BOUNDS = (1e-4, 5.0)


class Pacer:
    """Keeps the multiplier of one budget.

    Parameters
    ----------
    budget : float
        USD per request, > 0.
    """

    def __init__(self, budget: float) -> None:
        if not (math.isfinite(budget) and budget > 0):
            raise InvalidContext("the budget must be a positive number of USD per request")
        self.budget = budget
        self.multiplier = _START
        self._smoothed = budget

    @property
    def utility_per_usd(self) -> float:
        """What one USD costs in utility, on top of the request's own weight."""
        return self.multiplier / self.budget

    def settle(self, cost: float) -> None:
        """Take in what one request cost in USD."""
        self._smoothed += _SMOOTHING * (cost - self._smoothed)
        change = _STEP * (self._smoothed / self.budget - 1.0)
        self.multiplier = min(max(self.multiplier * math.exp(min(change, 1.0)), _BOUNDS[0]), _BOUNDS[1])
