"""Uniform exploration at a fixed rate."""

from dataclasses import dataclass

from learning.arrays import FloatArray
from learning.errors import InvalidContext
from learning.policies.protocol import Beliefs, point_mass


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """With probability ``epsilon`` any eligible model, else the highest expected utility."""

    epsilon: float = 0.05
    name: str = "epsilon_greedy"

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon <= 1.0:
            raise InvalidContext("epsilon_greedy: epsilon must lie in [0, 1]")

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        n = len(beliefs.mean)
        p: FloatArray = (1.0 - self.epsilon) * point_mass(n, beliefs.best()) + self.epsilon / n
        return p
