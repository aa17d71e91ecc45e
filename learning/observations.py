"""Evidence as it is folded: what was measured of one call of a model."""

from dataclasses import dataclass

from learning.arrays import FloatArray
from learning.targets import Target
from learning.voices import PLAIN, Voice


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured value of one target. A negative weight takes back what was added with the positive one."""

    target: Target
    model: str
    task_type: str
    features: FloatArray
    """Shape ``(N_FEATURES,)``."""
    value: float
    clock: int
    """Log position of the decision."""
    weight: float = 1.0
    correction: bool = False
    """True: a new value of something that was measured before, which is no news of the model."""
    voice: Voice = PLAIN
    """Who said so; of quality only."""


@dataclass(frozen=True, slots=True)
class Call:
    """Whether one call failed: evidence about reliability."""

    model: str
    failed: bool
    clock: int
