"""Tempered Thompson sampling with exact propensities and a floor of exploration."""

import math
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray
from learning.errors import InvalidContext
from learning.policies.protocol import Beliefs, spread_over
from learning.propensities import best_probabilities

_PLAUSIBLE_GAP = 0.1
_PLAUSIBLE_SDS = 1.5


@dataclass(frozen=True, slots=True)
class Thompson:
    """Choose each model with the probability that it is best under a tempered posterior.

    The standard deviations are multiplied by ``scale / sqrt(2 ln n)``: with n models the largest of n draws lies about sqrt(2 ln n)
    deviations up, which makes the untempered sampler (kappa = 1) explore far more than it learns. A share ``floor`` goes to untempered
    sampling (80 %) and to all plausible models evenly (20 %): support for off-policy estimates. A model whose belief is ``eager``, as after
    a change or when it is new, is tempered less, and not at all at 1; below 0, where few calls are scored, more.
    """

    scale: float = 1.0
    floor: float = 0.02
    name: str = "thompson"

    def __post_init__(self) -> None:
        if not (0.0 < self.scale <= 10.0 and 0.0 <= self.floor <= 1.0):
            raise InvalidContext("thompson: scale must lie in (0, 10] and floor in [0, 1]")

    def propensities(self, beliefs: Beliefs) -> FloatArray:
        n = len(beliefs.mean)
        if n == 1:
            return np.ones(1)
        kappa = min(1.0, self.scale / math.sqrt(2.0 * math.log(n)))
        width = kappa + np.where(np.asarray(beliefs.eager) < 0.0, kappa, 1.0 - kappa) * beliefs.eager
        p = best_probabilities(beliefs.mean, width * beliefs.sd)
        if self.floor:
            top = beliefs.mean.max()
            plausible = (beliefs.mean > top - _PLAUSIBLE_GAP) | (beliefs.mean + _PLAUSIBLE_SDS * beliefs.sd > top)
            untempered = beliefs.probability_best
            p = (1.0 - self.floor) * p + self.floor * (0.8 * untempered + 0.2 * spread_over(plausible))
        return p
