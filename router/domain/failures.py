"""How a failed provider call counts."""

from adapters.errors import AccessDenied, AdapterError, ModelNotServed, ProviderTimeout, RequestRejected
from router.domain.events import Status


def status_of(exc: AdapterError) -> Status:
    """A refused request says nothing about the model; a wrong key or an unknown name is the provider's failure."""
    if isinstance(exc, RequestRejected) and not isinstance(exc, AccessDenied | ModelNotServed):
        return Status.REJECTED
    return Status.TIMEOUT if isinstance(exc, ProviderTimeout) else Status.ERROR
