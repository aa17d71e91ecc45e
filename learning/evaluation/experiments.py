"""A randomised holdback: what routing gains over a baseline, and whether the randomisation is what it should be."""

import math

import numpy as np

from learning.arrays import BoolArray, FloatArray
from learning.distributions import betaln
from learning.errors import InvalidContext


def lift_terms(value: FloatArray, held: BoolArray, share: FloatArray) -> FloatArray:
    """(n,) terms whose mean is the mean of the routed less that of the held-back, without bias at every n.

    Parameters
    ----------
    value : FloatArray
        (n,) outcome of each unit, in the order in which they came.
    held : BoolArray
        (n,) whether the unit was held back.
    share : FloatArray
        (n,) probability with which it was, in (0, 1).

    Notes
    -----
    A unit counts (y - c) / (1 - h) when routed and -(y - c) / h when held back. c is the mean of the units before it: any number fixed
    beforehand leaves the mean right, and this one takes the common level out of the spread.

    Examples
    --------
    >>> terms = lift_terms(np.array([0.5, 0.5, 1.0, 0.0]), np.array([False, True, False, True]), np.full(4, 0.5))
    >>> terms.tolist()
    [1.0, -0.0, 1.0, 1.3333333333333333]
    """
    if not ((share > 0).all() and (share < 1).all()):
        raise InvalidContext("the share that is held back must lie in (0, 1)")
    before = np.concatenate([[0.0], np.cumsum(value)[:-1] / np.arange(1, len(value))]) if len(value) else value
    terms: FloatArray = np.where(held, -(value - before) / share, (value - before) / (1.0 - share))
    return terms


def ratio_evidence(held: int, units: int, share: float) -> float:
    """Base-10 logarithm of the evidence that units are held back with another probability than ``share``; valid at any time.

    The e-value of a uniform mixture over the true probability against ``share``: above 2 happens in one of a hundred sound experiments.

    Examples
    --------
    >>> ratio_evidence(100, 1_000, 0.1) < 0, ratio_evidence(200, 1_000, 0.1) > 10
    (True, True)
    """
    mixture = float(betaln(held + 1, units - held + 1))
    return (mixture - held * math.log(share) - (units - held) * math.log1p(-share)) / math.log(10.0)
