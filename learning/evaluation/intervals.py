"""Intervals for the mean of terms that are a martingale around it: for one look, and for as many looks as one likes."""

import math
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.distributions import ndtri, stdtrit
from learning.errors import InvalidContext

LEVEL = 0.95
OPTIMISED_FOR = 1_000
"""Number of terms at which an always valid interval is narrowest; chosen before anything is seen."""
_LEAST_TERMS = 2


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the interval that holds the truth with the stated probability."""

    mean: float
    low: float
    high: float

    def within(self, low: float, high: float) -> "Interval":
        """Cut to the range in which the truth must lie; the estimate itself stays."""
        return Interval(self.mean, min(max(self.low, low), high), max(min(self.high, high), low))

    def scaled(self, factor: float) -> "Interval":
        """In other units; ``factor`` > 0."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor)


def _spread(terms: FloatArray) -> float:
    if len(terms) < _LEAST_TERMS or not np.isfinite(terms).all():
        raise InvalidContext("an interval needs at least two terms, all finite")
    return float(terms.std(ddof=1))


def asymptotic(
    terms: FloatArray,
    *,
    around: FloatArray | float = 0.0,
    effective: float | None = None,
    cluster: IntArray | None = None,
    least: float = 0.0,
    beyond: float = 0.0,
    level: float = LEVEL,
) -> Interval:
    """For a single look, by the central limit theorem for martingales.

    Parameters
    ----------
    terms : FloatArray
        (n,)
    around : FloatArray
        (n,) what each term was expected to be. The interval is then one for the value on these very decisions; without it, for the
        value on all decisions of which these are a sample.
    effective : float, optional
        Effective sample size: the degrees of freedom of Student's t. n where left out.
    cluster : IntArray, optional
        (n,) number of the cluster (the episode) that a term belongs to; terms of one cluster may depend on each other.
    least : float
        Variance of a term below which the spread of the terms is not believed; see ``estimators.designed_variance``.
    beyond : float
        Variance of the mean to add: that of a mean of future outcomes, where the interval is to hold what will be seen.

    Examples
    --------
    >>> i = asymptotic(np.array([0.0, 1.0] * 50))
    >>> round(i.mean, 3), round(i.low, 2), round(i.high, 2)
    (0.5, 0.4, 0.6)
    """
    n, mean = len(terms), float(terms.mean()) if len(terms) else math.nan
    if n < _LEAST_TERMS or not np.isfinite(terms).all():
        raise InvalidContext("an interval needs at least two terms, all finite")
    deviation = terms - around
    deviation = deviation - deviation.mean()
    sums = deviation if cluster is None else np.bincount(np.unique(cluster, return_inverse=True)[1], deviation)
    groups = len(sums)
    if groups < _LEAST_TERMS:
        raise InvalidContext("an interval needs at least two episodes")
    error = math.sqrt(max(float(sums @ sums) * groups / (groups - 1) / n**2, least / n) + beyond)
    freedom = max(1.0, min(groups, groups if effective is None else effective) - 1.0)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return Interval(mean, mean - half, mean + half)


def motion(level: FloatArray, blocks: int = 8) -> float:
    """Variance by which the mean of as many terms to come differs from this one, because what they are drawn around moves on.

    Parameters
    ----------
    level : FloatArray
        (n,) what each term was expected to be, in order of time: under a policy that learns, it moves with what is learned.

    Notes
    -----
    A random walk over blocks, with the step variance that the block means show beyond their own noise. The means of two adjacent
    stretches of B blocks then differ with (2 B^2 + 1) / (3 B) step variances. The step is known from B - 1 differences only: it is widened
    as Student's t is against the normal.

    Examples
    --------
    >>> motion(np.tile([0.0, 1.0], 400)), round(motion(np.repeat(np.arange(8.0), 100)), 2)
    (0.0, 7.82)
    """
    if len(level) < _LEAST_TERMS * blocks:
        return 0.0
    parts = np.array_split(level, blocks)
    mean = np.array([part.mean() for part in parts])
    noise = 2.0 * float(np.mean([part.var() / len(part) for part in parts]))
    step = max(float((np.diff(mean) ** 2).mean()) - noise, 0.0)
    few = float(stdtrit(blocks - 1.0, 0.5 + LEVEL / 2)) / float(ndtri(0.5 + LEVEL / 2))
    return few**2 * step * (2 * blocks**2 + 1) / (3 * blocks)


def radius(n: FloatArray | int, level: float = LEVEL, optimised_for: int = OPTIMISED_FOR) -> FloatArray:
    """Half width, in standard deviations, of an always valid interval after n terms.

    The normal mixture of Waudby-Smith et al. 2021 (arXiv:2103.06476, equation 3): valid at every n from some n on, asymptotically.

    Examples
    --------
    It costs half as much again as an interval that may be looked at once:

    >>> round(float(radius(1_000)) * 1_000**0.5 / 1.96, 2)
    1.55
    """
    alpha = 1.0 - level
    r2 = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / optimised_for
    k = np.asarray(n, dtype=np.float64)
    half: FloatArray = np.sqrt(2.0 * (k * r2 + 1.0) / (k**2 * r2) * np.log(np.sqrt(k * r2 + 1.0) / alpha))
    return half


def always_valid(
    terms: FloatArray, *, around: FloatArray | float = 0.0, level: float = LEVEL, optimised_for: int = OPTIMISED_FOR
) -> Interval:
    """For as many looks as one likes: an asymptotic confidence sequence, at its end. ``around`` as for ``asymptotic``."""
    half = float(radius(len(terms), level, optimised_for)) * _spread(terms - around)
    mean = float(terms.mean())
    return Interval(mean, mean - half, mean + half)


def sequence(terms: FloatArray, level: float = LEVEL, optimised_for: int = OPTIMISED_FOR) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The whole confidence sequence: mean, low and high (n,) after each term; infinite before the second."""
    n = np.arange(1, len(terms) + 1, dtype=np.float64)
    mean = np.cumsum(terms) / n
    square = np.cumsum(terms**2) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.maximum(square - mean**2, 0.0) * n / (n - 1))
    half = np.where(n < _LEAST_TERMS, np.inf, radius(n, level, optimised_for) * np.nan_to_num(spread))
    return mean, mean - half, mean + half
