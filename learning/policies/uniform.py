"""Pure exploration."""

from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray
from learning.policies.protocol import Beliefs


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every eligible model equally often."""

    name: str = "uniform"

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        n = len(beliefs.mean)
        return np.full(n, 1.0 / n)
