"""Plain averages of what was observed, with intervals: no model, no pooling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from learning.distributions import betaincinv, stdtrit

COVERAGE = 0.9
"""Of every interval."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean of ``n`` observations and its 90 % interval."""

    n: int
    mean: float
    low: float
    high: float


def of_scores(total: float, weight: float, n: int) -> Measure | None:
    """Of scores in [0, 1] with their weighted sum: the interval of Clopper and Pearson; None where there are none.

    For right or wrong it covers the truth at least as often as it says; graded scores spread less than right or wrong ones of the same
    mean, so for them it is wide.
    """
    if n == 0 or weight <= 0:
        return None
    mean = min(max(total / weight, 0.0), 1.0)
    right, wrong, tail = mean * n, (1.0 - mean) * n, (1.0 - COVERAGE) / 2.0
    low = float(betaincinv(right, wrong + 1.0, tail)) if right > 0 else 0.0
    high = float(betaincinv(right + 1.0, wrong, 1.0 - tail)) if wrong > 0 else 1.0
    return Measure(n, mean, low, high)


def of_values(values: Sequence[float]) -> Measure | None:
    """Of any values: Student's t; one value alone has no interval but itself. None where there are none."""
    n = len(values)
    return None if n == 0 else of_moments(n, math.fsum(values), math.fsum(v * v for v in values))


def of_differences(values: Sequence[float]) -> Measure | None:
    """Of differences between two scores of the same case, in [-1, 1]: Student's t; where all are the same, which t takes for certainty,
    the interval of scores that all were so."""
    measure = of_values(values)
    if measure is None or measure.low < measure.high:
        return measure
    same = of_scores(measure.n * (measure.mean + 1.0) / 2.0, float(measure.n), measure.n)
    return None if same is None else Measure(measure.n, measure.mean, 2.0 * same.low - 1.0, 2.0 * same.high - 1.0)


def of_moments(n: int, total: float, squares: float) -> Measure | None:
    """The same from the number, sum and sum of squares."""
    if n == 0:
        return None
    mean = total / n
    if n == 1:
        return Measure(1, mean, mean, mean)
    variance = max(squares - n * mean * mean, 0.0) / (n - 1)
    half = float(stdtrit(n - 1, (1.0 + COVERAGE) / 2.0)) * math.sqrt(variance / n)
    return Measure(n, mean, mean - half, mean + half)
