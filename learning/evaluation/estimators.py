"""Values of a target policy from decisions that another policy drew.

With p the probability of the drawn model when it was drawn, pi its probability under the target, w = pi / p, r whether the outcome was
observed, o the probability that it is, y the outcome and q what was expected of it *before* it was known:

    direct               mean of  q(pi)
    inverse propensity   mean of  w r / o y
    self-normalised      sum of   w r / o y  /  sum of  w r / o
    doubly robust        mean of  q(pi) + w r / o (y - q(drawn))

The doubly robust mean is unbiased where p and o are right, whatever q is, and its terms are a martingale around the value even where the
logging policy learns as it goes, because p and q are fixed before y is. It is the estimate; the others are shown beside it. Clipped
weights are biased wherever q is: they say how sensitive the estimate is, never what it is.

References: Dudik et al. 2011 (arXiv:1103.4601); Swaminathan and Joachims 2015 (self-normalised); Bibaut et al. 2021 (arXiv:2106.00418).
"""

import math
from dataclasses import dataclass

import numpy as np

from learning.arrays import BoolArray, FloatArray
from learning.errors import InvalidContext


@dataclass(frozen=True, slots=True)
class Sample:
    """n logged decisions, seen from one target policy, and one quantity of their outcomes; (n,) each."""

    weight: FloatArray
    """Probability of the drawn model under the target over that under the log; finite, not negative."""
    value: FloatArray
    """What was observed; NaN where nothing was."""
    observation: FloatArray
    """In (0, 1]: probability that a value is observed of such a decision."""
    fitted: FloatArray
    """What was expected of the drawn model before the outcome."""
    expected: FloatArray
    """What was expected of the target policy: the mean over the models under its probabilities."""
    square: FloatArray
    """Mean of the squared weight over what the log could have drawn: sum of pi^2 / p. It knows the rare draws that did not happen."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise InvalidContext("weights must be finite and not negative; leave out decisions that were not drawn")
        if not ((self.observation > 0).all() and (self.observation <= 1).all()):
            raise InvalidContext("observation probabilities must lie in (0, 1]")

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def seen(self) -> BoolArray:
        """(n,) whether the outcome was observed."""
        seen: BoolArray = ~np.isnan(self.value)
        return seen

    @property
    def load(self) -> FloatArray:
        """(n,) what each observed outcome counts: w r / o."""
        load: FloatArray = np.where(self.seen, self.weight / self.observation, 0.0)
        return load

    def take(self, rows: BoolArray) -> "Sample":
        """The marked decisions."""
        return Sample(*(getattr(self, name)[rows] for name in self.__slots__))


def direct(sample: Sample) -> FloatArray:
    """(n,) terms of the direct estimate: what the model of outcomes says, right or wrong."""
    return sample.expected


def inverse_propensity(sample: Sample) -> FloatArray:
    """(n,) terms of the inverse propensity estimate.

    Examples
    --------
    The logging policy itself: every weight is 1, and the estimate is the mean outcome.

    >>> own = Sample(np.ones(3), np.array([0.0, 1.0, 1.0]), np.ones(3), np.full(3, 0.4), np.full(3, 0.4), np.ones(3))
    >>> round(float(inverse_propensity(own).mean()), 3)
    0.667
    """
    return sample.load * np.nan_to_num(sample.value)


def self_normalised(sample: Sample) -> FloatArray:
    """(n,) terms whose mean is the self-normalised estimate, and whose spread is its linearised one; NaN where nothing is observed."""
    load = sample.load
    total = float(load.sum())
    if total <= 0:
        return np.full(len(sample), np.nan)
    mean = float(load @ np.nan_to_num(sample.value)) / total
    terms: FloatArray = mean + load * (np.nan_to_num(sample.value) - mean) * (len(sample) / total)
    return terms


def doubly_robust(sample: Sample, cap: float = np.inf) -> FloatArray:
    """(n,) terms of the doubly robust estimate; with ``cap``, weights above it are cut to it.

    Examples
    --------
    What was expected, 0.5, is corrected by what was seen:

    >>> half = Sample(np.array([2.0, 0.0]), np.array([1.0, 0.0]), np.ones(2), np.full(2, 0.5), np.full(2, 0.5), np.full(2, 2.0))
    >>> doubly_robust(half).tolist()
    [1.5, 0.5]
    """
    load = np.where(sample.seen, np.minimum(sample.weight, cap) / sample.observation, 0.0)
    terms: FloatArray = sample.expected + load * np.where(sample.seen, sample.value - sample.fitted, 0.0)
    return terms


def designed_variance(sample: Sample) -> float:
    """Variance of one doubly robust term by what the log could have drawn, not by what it drew.

    Where a rare draw carries much weight and happens not to be in the log, the spread of the terms knows nothing of it; the logged
    probabilities do. The outcome's own noise is taken from what was drawn, weighted as the target would have drawn it.
    """
    load = sample.load
    total = float(load.sum())
    if total <= 0:
        return math.inf
    noise = float(load @ np.nan_to_num(sample.value - sample.fitted) ** 2) / total
    return noise * float((sample.square / sample.observation).mean())
