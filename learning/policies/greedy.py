"""No exploration."""

from dataclasses import dataclass

from learning.arrays import FloatArray
from learning.policies.protocol import Beliefs, point_mass


@dataclass(frozen=True, slots=True)
class Greedy:
    """Choose the highest expected utility."""

    name: str = "greedy"

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        return point_mass(len(beliefs.mean), beliefs.best())
