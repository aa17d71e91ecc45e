"""What a policy sees and what it must return."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from learning.arrays import BoolArray, FloatArray
from learning.propensities import best_probabilities


@dataclass(frozen=True)
class Beliefs:
    """The utilities of the n eligible models, ordered by model id, as independent Gaussians."""

    models: Sequence[str]
    mean: FloatArray
    """(n,)"""
    sd: FloatArray
    """(n,) > 0"""
    eager: FloatArray | float = 0.0
    """(n,) in (-1, 1], or one for all: how far exploration goes from tempered (0) to the full width of each belief (1), or to none (-1)."""

    @cached_property
    def probability_best(self) -> FloatArray:
        """(n,) probability of having the highest utility under the untempered posterior."""
        return best_probabilities(self.mean, self.sd)

    def best(self) -> int:
        """Index of the highest mean, the first of equals."""
        return int(self.mean.argmax())


class Policy(Protocol):
    """A rule from beliefs to probabilities. Stateless and pure: the same beliefs give the same vector."""

    @property
    def name(self) -> str:
        """Key in the registry."""
        ...

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        """(n,) probabilities over exactly the eligible models; sums to 1.

        Raises
        ------
        UnknownModel
            The policy needs a model that is not eligible and cannot do without.
        """
        ...


def point_mass(n: int, index: int) -> FloatArray:
    """(n,) all probability on one model."""
    p = np.zeros(n)
    p[index] = 1.0
    return p


def spread_over(mask: BoolArray) -> FloatArray:
    """(n,) uniform over the marked models."""
    p: FloatArray = mask / mask.sum()
    return p
