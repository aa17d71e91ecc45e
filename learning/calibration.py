"""What a judge's scores are worth, learnt where a trusted judge scored the same answers.

Judge j is regressed on the trusted one, y = s + c0 + c1 (s - mean), both shrunk to 0 by 5 and 20 pseudo-answers; model by model its
remaining bias b_jm ~ N(0, t_j^2) is predicted (best linear unbiased prediction, Robinson 1991).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray

_OFFSET_MASS, _SLOPE_MASS, _VARIANCE_MASS = 5.0, 20.0, 5.0
"""Answers that the prior of a judge's offset, slope and noise counts for."""
_BIAS_SD = 0.03
"""Of a judge's bias towards one model, before evidence."""
_BIAS_MASS = 10.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one judge's scores are worth: y = offset + slope * score (+ bias by model), with residual variance ``noise_var``."""

    offset: float = 0.0
    slope: float = 1.0
    noise_var: float = 0.0
    bias: Mapping[str, float] | None = None
    """By model, where answers were shared."""
    bias_var: Mapping[str, float] | None = None
    """What is left of its uncertainty."""
    shared: float = 0.0
    """Answers that a trusted judge scored too, as of now."""

    def mapped(self, model: str) -> float:
        """Offset for one model."""
        return self.offset + (self.bias or {}).get(model, 0.0)


def regress(own: Mapping[str, FloatArray]) -> Calibration | None:
    """Calibration of one judge from its shared answers by model."""
    n, s, y, ss, sy, yy = np.sum(list(own.values()), axis=0).tolist()
    if n < 1e-9:
        return None
    sxx, sxy = max(ss - s * s / n, 0.0), sy - s * y / n
    level = (y - s) / (n + _OFFSET_MASS)  # n / (n + 5) of the mean difference
    tilt = (sxy - sxx) / sxx * n / (n + _SLOPE_MASS) if sxx > 1e-12 else 0.0
    tilt = max(tilt, -1.0)  # a judge that runs against the truth says nothing; it is not read backwards
    offset, slope = level - tilt * s / n, 1.0 + tilt
    error = yy - 2.0 * offset * y - 2.0 * slope * sy + n * offset**2 + 2.0 * offset * slope * s + slope**2 * ss
    noise_var = max(error, 0.0) / (n + _VARIANCE_MASS)
    bias_var = _BIAS_SD**2
    bias: dict[str, float] = {}
    left: dict[str, float] = {}
    for _ in range(2):  # one step of expectation maximisation for the spread of the biases
        squares = 0.0
        for model, (k, ks, ky, *_rest) in own.items():
            hold = k * bias_var / (k * bias_var + noise_var) if k > 0 and noise_var > 0 else float(k > 0)
            bias[model] = hold * (ky - offset * k - slope * ks) / k if k > 0 else 0.0
            left[model] = bias_var * (1.0 - hold)
            squares += bias[model] ** 2 + left[model]
        bias_var = (_BIAS_MASS * _BIAS_SD**2 + squares) / (_BIAS_MASS + len(own))
    return Calibration(offset, slope, noise_var, bias, left, n)
