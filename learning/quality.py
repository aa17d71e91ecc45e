"""What is shown of a quality. Scores lie in [0, 1]; beliefs about them are Gaussian and know no bounds, and decisions go by those."""

from learning.choice import Z90


def shown(mean: float, deviation: float = 0.0) -> tuple[float, float, float]:
    """Mean, low and high end of the 90 % interval, each within [0, 1].

    >>> shown(1.25, 0.0), shown(0.5, 10.0)
    ((1.0, 1.0, 1.0), (0.5, 0.0, 1.0))
    """
    half = Z90 * deviation
    return bounded(mean), bounded(mean - half), bounded(mean + half)


def bounded(value: float) -> float:
    """The nearest value that a quality can have."""
    return min(max(value, 0.0), 1.0)
