"""Exact choice probabilities, and the draw that follows them to the last bit.

Thompson sampling draws one utility per model and takes the highest. For independent Gaussian utilities the probability that model m
is highest is a one-dimensional integral (arXiv:2504.08773)

    p_m = int phi((u - mu_m) / s_m) / s_m  prod_{j != m} Phi((u - mu_j) / s_j) du

which is computed by quadrature; the policy then samples from p itself, so that the logged propensity *is* the sampling law.
"""

import hashlib
import math

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.distributions import ndtr
from learning.errors import InvalidContext

SCALE = 1 << 24
"""Propensities are integer multiples of 1 / SCALE."""
_REACH = 6.0
"""Standard deviations beyond which a Gaussian's mass is below one unit of 1 / SCALE."""
_EVEN_SHARE = 0.1
"""While no standard deviation is below this share of the largest, 64 even nodes are exact to 1e-6. Otherwise 128 are graded by cubes
towards the low end of the integral, where all narrow Gaussians lie: exact to 2e-7 at a share of 0.01, to 4e-5 at 0.001."""
_LEAST_SD_SHARE = 0.001
"""Standard deviations are floored at this share of the largest."""
_TINY = 1e-300


def _nodes(count: int, grade: int) -> tuple[FloatArray, FloatArray]:
    """Places t ** grade in [0, 1] of Gauss-Legendre nodes t, and their weights."""
    x, weights = np.polynomial.legendre.leggauss(count)
    t = 0.5 * (x + 1.0)
    return t**grade, 0.5 * grade * weights * t ** (grade - 1)


_EVEN, _GRADED = _nodes(64, 1), _nodes(128, 3)


def best_probabilities(mean: FloatArray, sd: FloatArray) -> FloatArray:
    """Probability of being the highest, for independent Gaussians.

    Parameters
    ----------
    mean, sd : FloatArray
        (n,) each; sd > 0.

    Returns
    -------
    FloatArray
        (n,), sums to 1.

    Raises
    ------
    InvalidContext
        A number is not finite or a standard deviation is not positive.

    Examples
    --------
    Two models a standard deviation apart: Phi(1 / sqrt(2)) = 0.760.

    >>> best_probabilities(np.array([1.0, 0.0]), np.array([1.0, 1.0])).round(3).tolist()
    [0.76, 0.24]
    """
    least, most = float(sd.min()), float(sd.max())
    if least < _LEAST_SD_SHARE * most:
        sd = np.maximum(sd, _LEAST_SD_SHARE * most)
    reach = _REACH * sd
    upper = mean + reach
    low, high = float((mean - reach).max()), float(upper.max())
    if not (least > 0 and math.isfinite(low) and math.isfinite(high) and math.isfinite(float(mean.min()))):
        raise InvalidContext("means must be finite and standard deviations finite and positive")
    if len(mean) == 1:
        return np.ones(1)
    if float(upper.min()) > low:
        return _integrate(mean, sd, low, high)
    rivals = np.flatnonzero(upper > low)
    p = np.zeros(len(mean))
    p[rivals] = 1.0 if len(rivals) == 1 else _integrate(mean[rivals], sd[rivals], low, high)
    return p


def _integrate(mean: FloatArray, sd: FloatArray, low: float, high: float) -> FloatArray:
    """The integral over [low, high], the least that holds all mass: every mean lies at most ``_REACH`` of its own sds above low."""
    place, weights = _EVEN if float(sd.min()) >= _EVEN_SHARE * float(sd.max()) else _GRADED
    z = ((high - low) * place + low - mean[:, None]) / sd[:, None]  # (n, nodes)
    below = ndtr(z)
    np.log(np.maximum(below, _TINY, out=below), out=below)
    z *= z
    z *= -0.5
    z -= below
    z += below.sum(axis=0)
    mass = (np.exp(z, out=z) @ weights) / sd
    p: FloatArray = mass / mass.sum()
    return p


def quantise(p: FloatArray) -> IntArray:
    """Round probabilities to integers that sum to ``SCALE`` exactly (largest remainder).

    Parameters
    ----------
    p : FloatArray
        (n,), non-negative, sums to 1 within 1e-6.

    Raises
    ------
    InvalidContext
        It is not a probability vector.
    """
    total = float(p.sum())
    if not (math.isfinite(total) and abs(total - 1.0) < 1e-6 and (p >= 0).all()):
        raise InvalidContext("probabilities must be non-negative and sum to 1")
    exact = p * (SCALE / total)
    q = exact.astype(np.int64)
    missing = SCALE - int(q.sum())
    if missing:
        order = np.argsort(q - exact, kind="stable")[:missing]
        q[order] += 1
    return q


def uniform_draw(salt: bytes, decision_id: str) -> int:
    """24 bits that depend on the decision's id and the salt only: a replay draws the same."""
    return int.from_bytes(hashlib.blake2b(decision_id.encode(), key=salt[:64], digest_size=3).digest(), "big")


def draw(q: IntArray, u: int) -> int:
    """Index drawn by the 24-bit number ``u`` from integer weights that sum to ``SCALE``."""
    return int(q.cumsum().searchsorted(u, side="right"))
