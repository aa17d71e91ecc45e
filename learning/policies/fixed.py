"""One model for everything: the baseline."""

from dataclasses import dataclass

from learning.arrays import FloatArray
from learning.errors import InvalidContext
from learning.policies.protocol import Beliefs, point_mass


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always ``model``; where it is not eligible, the highest expected utility."""

    model: str = ""
    name: str = "fixed"

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidContext("fixed: name the model, e.g. fixed with model = provider/name")

    def choice(self, beliefs: Beliefs) -> int:
        """Index of the model."""
        return beliefs.models.index(self.model) if self.model in beliefs.models else beliefs.best()

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        return point_mass(len(beliefs.mean), self.choice(beliefs))
