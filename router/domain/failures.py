"""How a failed provider call counts, and what it cost."""

from adapters.errors import (
    AccessDenied,
    AdapterError,
    AdapterUnavailable,
    ContextTooLong,
    ModelNotServed,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from router.domain.events import Attempt, Status

_REFUSALS = (AccessDenied, AdapterUnavailable, ContextTooLong, ModelNotServed, QuotaExhausted, RateLimited, RequestRejected)
_UNBILLED = frozenset(kind.__name__ for kind in _REFUSALS)


def status_of(exc: AdapterError) -> Status:
    """A refused request says nothing about the model; a wrong key or an unknown name is the provider's failure."""
    if isinstance(exc, RequestRejected) and not isinstance(exc, AccessDenied | ModelNotServed):
        return Status.REJECTED
    return Status.TIMEOUT if isinstance(exc, ProviderTimeout) else Status.ERROR


def spent_on(attempt: Attempt) -> float | None:
    """USD that an attempt cost, as it was logged; None where nobody knows.

    Providers bill answers: what they refuse costs nothing. What broke off, was given up or could not be read may be billed or not.
    """
    refused = attempt.error in _UNBILLED or (attempt.http_status or 0) >= 400
    return 0.0 if attempt.cost_usd is None and attempt.output_tokens is None and refused else attempt.cost_usd
