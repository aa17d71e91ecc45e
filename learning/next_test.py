"""What further evidence about one model would be worth: the expected rise of the best choice's utility."""

import math

import numpy as np

from learning.arrays import FloatArray
from learning.distributions import ndtr


def gain_of_testing(mean: FloatArray, sd: FloatArray, index: int, noise_sd: float, n: int, rivals: FloatArray | None = None) -> float:
    """Expected rise of the utility of choosing the best model, by ``n`` more scores of one model (the knowledge gradient).

    Parameters
    ----------
    mean, sd : FloatArray
        (K,) beliefs about the models' utilities; sd > 0.
    noise_sd : float
        Of one observation of utility.
    rivals : FloatArray, optional
        (K,) boolean: the models that would be chosen from if nothing more were learned; all by default.

    Returns
    -------
    float
        In units of utility per task, >= 0.

    References
    ----------
    Frazier, Powell, Dayanik: A knowledge-gradient policy for sequential information collection, 2008, equation 3.1.

    Examples
    --------
    Two level models with standard deviations of 1, observed exactly: the better of a standard normal and 0 is worth 1 / sqrt(2 pi).

    >>> round(gain_of_testing(np.zeros(2), np.ones(2), 0, 0.0, 1), 4)
    0.3989
    >>> gain_of_testing(np.array([0.0, 9.0]), np.full(2, 0.1), 0, 1.0, 20) < 1e-9
    True
    """
    others = np.arange(len(mean)) != index
    if rivals is not None:
        others &= rivals.astype(bool)
    if not others.any():
        return 0.0
    best = float(mean[others].max())
    own, variance = float(mean[index]), float(sd[index]) ** 2
    moved = math.sqrt(variance * variance * n / (variance * n + noise_sd**2))
    z = abs(own - best) / moved
    rise = moved * (math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) - z * float(ndtr(-z)))
    # a model outside the choice now is worth what it may add to the best; one inside it what the ranking may change
    return max(rise + (max(own - best, 0.0) if rivals is not None and not rivals[index] else 0.0), 0.0)
