"""Which answers to judge: those whose score may change decisions most, each with a probability that is known and never 0."""

import math

from learning.distributions import ndtr
from router.domain.orchestration import Outlook
from router.domain.tasks import Weights

NOISE_VAR = 0.15**2 + 0.10**2
"""Of one judge's score around a model's expectation: the spread of answers, and of a judge."""
FLOOR = 0.1
"""Of the share: the least probability with which an answer is drawn, so that every kind of answer stays comparable."""
_MEMORY = 0.02
"""Weight of the newest in the running mean of what scores are worth."""


def worth(outlook: Outlook, model: str, weights: Weights) -> float:
    """Expected gain in utility per decision on the task from one more score of the model: its knowledge gradient.

    With s the deviation of the model's utility that its quality leaves, and s~ = s^2 / sqrt(s^2 + noise) how far one score is expected to
    move it, that is s~ (phi(z) + z Phi(z)), z = -gap / s~, gap being the distance to the best other model (Frazier, Powell and Dayanik
    2008). 0 where there is nothing to choose between.
    """
    if model not in outlook.models or len(outlook.models) < 2:
        return 0.0
    i = outlook.models.index(model)
    scale = weights.quality * (1.0 - float(outlook.estimates.failure[i]))
    variance = scale**2 * float(outlook.estimates.quality_var[i])
    if variance <= 0.0:
        return 0.0
    moved = variance / math.sqrt(variance + scale**2 * NOISE_VAR)
    gap = float(max(mean for j, mean in enumerate(outlook.about.mean.tolist()) if j != i)) - float(outlook.about.mean[i])
    z = -abs(gap) / moved
    return moved * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * float(ndtr(z)))


class Sampler:
    """Turns what scores are worth into probabilities whose mean over the traffic is the share."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._mean: float | None = None

    def probability(self, value: float | None) -> float:
        """Of drawing an answer whose score is worth ``value``; None: not known yet, so it counts as an ordinary one."""
        if value is None:
            return self._share
        self._mean = value if self._mean is None else self._mean + _MEMORY * (value - self._mean)
        relative = value / self._mean if self._mean > 0.0 else 1.0
        return min(1.0, self._share * (FLOOR + (1.0 - FLOOR) * relative))
