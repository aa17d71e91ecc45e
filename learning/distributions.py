"""Distribution functions, SciPy's; it is loaded with the first value that is asked for, for it would be a seventh of a service's start."""

from functools import cache
from typing import Any


@cache
def load() -> Any:
    """SciPy's special functions."""
    from scipy import special  # here: see above

    return special


def ndtr(z: Any) -> Any:
    """Of the standard normal distribution, elementwise."""
    return load().ndtr(z)


def ndtri(p: Any) -> Any:
    """Quantiles of the standard normal distribution, elementwise."""
    return load().ndtri(p)


def stdtrit(freedom: Any, p: Any) -> Any:
    """Quantiles of Student's distribution, elementwise."""
    return load().stdtrit(freedom, p)


def betaincinv(a: Any, b: Any, p: Any) -> Any:
    """Quantiles of the beta distribution, elementwise."""
    return load().betaincinv(a, b, p)


def betaln(a: Any, b: Any) -> Any:
    """Logarithm of the beta function, elementwise."""
    return load().betaln(a, b)
