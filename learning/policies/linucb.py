"""Upper confidence bound."""

from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray
from learning.errors import InvalidContext
from learning.policies.protocol import Beliefs, point_mass


@dataclass(frozen=True, slots=True)
class LinUCB:
    """Choose the highest mean + alpha * sd (Li et al. 2010, on the pooled posterior); ``floor`` spreads evenly over all.

    With ``floor`` 0 the choice is deterministic and the log cannot evaluate other policies.
    """

    alpha: float = 1.0
    floor: float = 0.02
    name: str = "linucb"

    def __post_init__(self) -> None:
        if not (0.0 <= self.alpha <= 10.0 and 0.0 <= self.floor <= 1.0):
            raise InvalidContext("linucb: alpha must lie in [0, 10] and floor in [0, 1]")

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        n = len(beliefs.mean)
        top = int(np.argmax(beliefs.mean + self.alpha * beliefs.sd))
        p: FloatArray = (1.0 - self.floor) * point_mass(n, top) + self.floor / n
        return p
