"""Intervals of means over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from router.domain.outcome_table import FloatArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n seeds and its 95 % interval; infinite with one seed."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not math.isfinite(self.low):
            return f"{self.mean:+.4f}"
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def interval(values: Sequence[float] | FloatArray) -> Estimate:
    """Mean and Student's 95 % interval."""
    x = np.asarray(values, dtype=float)
    mean, n = float(x.mean()), len(x)
    if n < 2:
        return Estimate(mean, -math.inf, math.inf, n)
    half = float(student.ppf(0.975, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def paired(ours: Sequence[float] | FloatArray, theirs: Sequence[float] | FloatArray) -> Estimate:
    """Difference ours - theirs over the seeds that both have played: the first of each."""
    n = min(len(ours), len(theirs))
    return interval(np.asarray(ours)[:n] - np.asarray(theirs)[:n])
