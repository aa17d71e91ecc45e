"""What can go wrong in one provider call, and whether another try may help.

    AdapterError               retryable, elsewhere, model, status, request_id, retry_after_s, usage
    ├─ AdapterUnavailable      no SDK, no key or no such adapter: fix the configuration
    ├─ RequestRejected         the provider refuses the request: change it
    │  ├─ ContextTooLong       send less or take a model with a larger window
    │  ├─ AccessDenied         the key is wrong or may not use the model
    │  ├─ ModelNotServed       the provider has no such model: correct or retire it
    │  └─ ContentRefused       a safety rule of the provider's
    ├─ QuotaExhausted          the account has no credit left: top it up
    ├─ RateLimited             retry after ``retry_after_s``        retryable
    ├─ ProviderDown            5xx, refused or broken connection    retryable
    ├─ ProviderTimeout         no answer before the deadline        retryable
    └─ MalformedResponse       an answer that cannot be read        retryable

Callers branch on ``retryable`` (the same call may work later) and ``elsewhere`` (another model may take it now). Messages name
models, statuses and limits; they never repeat prompts, answers or the provider's own words, which may quote either or a key.
"""

from typing import ClassVar

from adapters.types import Usage


class AdapterError(Exception):
    """One provider call failed."""

    retryable: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.model = model
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.usage = usage
        """What the provider bills although there is no answer, where that is known: nothing where it was not reached."""


class AdapterUnavailable(AdapterError):
    """The adapter cannot be used; ``remedy`` says what to install or set."""

    def __init__(self, message: str, *, remedy: str, model: str | None = None) -> None:
        super().__init__(f"{message}: {remedy}", model=model)
        self.remedy = remedy


class RequestRejected(AdapterError):
    """The provider refuses this request and will refuse it again."""

    elsewhere = False


class ContextTooLong(RequestRejected):
    """The messages and the output asked for exceed the window."""

    elsewhere = True


class AccessDenied(RequestRejected):
    """The key is not accepted for this model."""

    elsewhere = True


class ModelNotServed(RequestRejected):
    """The provider does not know the model, or not for this key."""

    elsewhere = True


class ContentRefused(RequestRejected):
    """The provider's safety rules stopped the request."""


class QuotaExhausted(AdapterError):
    """The account has no credit or quota left."""


class RateLimited(AdapterError):
    """Too many requests for now."""

    retryable = True


class ProviderDown(AdapterError):
    """The provider failed or could not be reached."""

    retryable = True


class ProviderTimeout(AdapterError):
    """No answer before the deadline."""

    retryable = True


class MalformedResponse(AdapterError):
    """The answer does not have the promised shape."""

    retryable = True
