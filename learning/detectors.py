"""The numbers of change-point detection: what a value is compared with, its e-values, and the e-CUSUMs that they feed.

Everything here comes twice, for one value and for many at once, and both ways give the same bits: each operation is one that IEEE 754
rounds in one way, in the same order, and logarithms are the interpreter's own. See ``learning.drift`` for what the numbers mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from learning.arrays import BoolArray, FloatArray
from learning.features import EXPECTED_OUTPUT, N_FEATURES
from learning.targets import PRIORS, Target

SIZES = (0.25, 0.5, 1.0)
LEAST_REFERENCE = 20.0
"""Weight of the evidence a value is compared with."""
FIRM_REFERENCE = 70.0
"""The same, for a comparison that leaves out suspected values: it no longer averages out its own error."""
SUSPICION = 2.0
"""Logarithm of the e-value from which on the values since the last restart are left out of what new ones are compared with."""
SLOPES_EVERY = 16
"""Values of a cell after which its slopes are fitted anew."""
_CLIP = 3.0
_STEADY = 0.5
"""Scores with less than this share of the variance of pass or fail at their mean are compared by their own variance."""
_VARIANCE_LABELS = 2.0
"""Pseudo-values of the prior's noise in a cell's variance."""
_CAUTION = 1.1
"""Factor on variances that are estimated."""


@dataclass(slots=True)
class Stream:
    """Logarithms of the e-CUSUMs, three sizes downwards and three upwards, and where each restarted last; a cell's slopes and their age."""

    level: list[float] = field(default_factory=lambda: [0.0] * 6)
    since: list[int] = field(default_factory=lambda: [0] * 6)
    slopes: list[float] = field(default_factory=lambda: [0.0] * (N_FEATURES - 1))
    age: int = 0
    top: float = 0.0
    """The highest level."""

    def step(self, gains: Sequence[float], clock: int) -> None:
        """Add the logarithms of six e-values."""
        a, b, c, d, e, f = self.level
        g, h, i, j, k, m = gains
        since = self.since
        if a > 0.0:
            a += g
        else:
            a, since[0] = g, clock
        if b > 0.0:
            b += h
        else:
            b, since[1] = h, clock
        if c > 0.0:
            c += i
        else:
            c, since[2] = i, clock
        if d > 0.0:
            d += j
        else:
            d, since[3] = j, clock
        if e > 0.0:
            e += k
        else:
            e, since[4] = k, clock
        if f > 0.0:
            f += m
        else:
            f, since[5] = m, clock
        self.level = level = [a, b, c, d, e, f]
        self.top = max(level)

    def fired(self, log_threshold: float) -> tuple[float, int] | None:
        """Log e-value and estimated start of the change, where a side's mean over the sizes passes the threshold."""
        for side in (0, 3):
            own = self.level[side : side + 3]
            top = max(own)
            if top > log_threshold:
                log_e = top + math.log(sum(math.exp(x - top) for x in own) / 3.0)
                if log_e > log_threshold:
                    return log_e, self.since[side + own.index(top)]
        return None

    def since_top(self) -> int:
        """Where the highest of the six restarted last."""
        return self.since[self.level.index(self.top)]

    def reset(self) -> None:
        """Begin anew."""
        self.level = [0.0] * 6
        self.top = 0.0

    def slope(self, features: Sequence[float], column: Sequence[float]) -> float:
        """What the features add to the mean of a cell whose sums of features are ``column``."""
        weight, slopes = column[0], self.slopes
        total = slopes[0] * (features[1] - column[1] / weight)
        for i in range(1, N_FEATURES - 1):
            total += slopes[i] * (features[i + 1] - column[i + 1] / weight)
        return total


def slopes_at(slopes: FloatArray, features: FloatArray, column: FloatArray) -> FloatArray:
    """``Stream.slope`` of n values: (n, d - 1), (n, d) and (n, d) give (n,)."""
    weight = column[:, 0]
    total: FloatArray = slopes[:, 0] * (features[:, 1] - column[:, 1] / weight)
    for i in range(1, N_FEATURES - 1):
        total += slopes[:, i] * (features[:, i + 1] - column[:, i + 1] / weight)
    return total


def fit_slopes(target: Target, gram: FloatArray, moment: FloatArray) -> FloatArray:
    """(n, d - 1) ridge regressions of the values of n cells on the features, around their means; (n, d, d) and (n, d)."""
    prior = PRIORS[target]
    weight, column = gram[:, :1, 0], gram[:, 1:, 0]
    spread = gram[:, 1:, 1:] - column[:, :, None] * column[:, None, :] / weight[:, :, None]
    ridge = (prior.noise_sd / prior.common_slope_sd) ** 2
    start = np.zeros(N_FEATURES - 1)
    start[EXPECTED_OUTPUT - 1] = prior.expected_output_slope
    together = moment[:, 1:] - column * moment[:, :1] / weight + ridge * start
    slopes: FloatArray = np.linalg.solve(spread + ridge * np.eye(N_FEATURES - 1), together[:, :, None]).astype(np.float64, copy=False)
    return slopes[:, :, 0]


def compare(target: Target, y: float, sums: tuple[float, float, float], slope: float, slack: float) -> tuple[float, float, list[float]]:
    """Expectation and standard deviation of a value, and the logarithms of its six e-values.

    ``sums`` are the weight, the sum and the sum of squares of its cell, ``slope`` what its features add to the cell's mean.
    """
    n, total, square = sums
    mean = total / n
    prior = PRIORS[target].noise_sd ** 2
    variance = (n * max(square / n - mean * mean, 0.0) + _VARIANCE_LABELS * prior) / (n + _VARIANCE_LABELS)
    if target is Target.QUALITY and 0.0 <= y <= 1.0:
        p = min(max((total + 1.0) / (n + 2.0) + slope, 0.01), 0.99)
        sd = math.sqrt(p * (1.0 - p))
        if variance > _STEADY * sd * sd:
            return p, sd, _bets(y, p, sd, slack)
    sd = math.sqrt(_CAUTION * variance * (1.0 + 2.0 / n))
    expected = mean + slope
    z = min(max((y - expected) / sd, -_CLIP), _CLIP)
    return expected, sd, [size * (side * z - slack) - size * size / 2.0 for side in (-1.0, 1.0) for size in SIZES]


def _bets(y: float, p: float, sd: float, slack: float) -> list[float]:
    low, high = max(p - slack * sd, 0.01), min(p + slack * sd, 0.99)
    low_sd, high_sd = math.sqrt(low * (1.0 - low)), math.sqrt(high * (1.0 - high))
    down = [math.log1p(-min(size / low_sd, 0.9 / (1.0 - low)) * (y - low)) for size in SIZES]
    return down + [math.log1p(min(size / high_sd, 0.9 / high) * (y - high)) for size in SIZES]


def compare_all(
    target: Target, y: FloatArray, sums: tuple[FloatArray, FloatArray, FloatArray], slope: FloatArray, slack: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``compare`` of n values: (n,), (n,) and (n, 6)."""
    n, total, square = sums
    mean = total / n
    prior = PRIORS[target].noise_sd ** 2
    variance = (n * np.maximum(square / n - mean * mean, 0.0) + _VARIANCE_LABELS * prior) / (n + _VARIANCE_LABELS)
    sd = np.sqrt(_CAUTION * variance * (1.0 + 2.0 / n))
    expected = mean + slope
    z = np.minimum(np.maximum((y - expected) / sd, -_CLIP), _CLIP)
    gains = np.empty((len(y), 6))
    for i, size in enumerate(SIZES):
        gains[:, i] = size * (-z - slack) - size * size / 2.0
        gains[:, i + 3] = size * (z - slack) - size * size / 2.0
    if target is Target.QUALITY:
        p = np.minimum(np.maximum((total + 1.0) / (n + 2.0) + slope, 0.01), 0.99)
        own_sd = np.sqrt(p * (1.0 - p))
        plain: BoolArray = (y >= 0.0) & (y <= 1.0) & (variance > _STEADY * own_sd * own_sd)
        expected[plain], sd[plain] = p[plain], own_sd[plain]
        gains[plain] = _bets_all(y[plain], p[plain], own_sd[plain], slack)
    return expected, sd, gains


def _bets_all(y: FloatArray, p: FloatArray, sd: FloatArray, slack: float) -> FloatArray:
    low, high = np.maximum(p - slack * sd, 0.01), np.minimum(p + slack * sd, 0.99)
    low_sd, high_sd = np.sqrt(low * (1.0 - low)), np.sqrt(high * (1.0 - high))
    stakes = np.empty((len(y), 6))
    for i, size in enumerate(SIZES):
        stakes[:, i] = -np.minimum(size / low_sd, 0.9 / (1.0 - low)) * (y - low)
        stakes[:, i + 3] = np.minimum(size / high_sd, 0.9 / high) * (y - high)
    return np.array([math.log1p(stake) for stake in stakes.ravel().tolist()]).reshape(len(y), 6)
