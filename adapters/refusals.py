"""From what a provider or a connection did wrong to the one error that says it, without quoting either side."""

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from adapters.errors import (
    AccessDenied,
    AdapterError,
    ContentRefused,
    ContextTooLong,
    MalformedResponse,
    ModelNotServed,
    ProviderDown,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from adapters.types import Usage

_BY_STATUS: Mapping[int, type[AdapterError]] = {
    401: AccessDenied,
    402: QuotaExhausted,
    403: AccessDenied,
    404: ModelNotServed,
    408: ProviderTimeout,
    409: ProviderDown,  # a lock that passes
    410: ModelNotServed,
    413: ContextTooLong,
    425: ProviderDown,
    429: RateLimited,
    504: ProviderTimeout,
}
_BY_WORD: tuple[tuple[type[AdapterError], frozenset[str]], ...] = (
    (ContextTooLong, frozenset({"context_length_exceeded", "request_too_large", "string_above_max_length"})),
    (QuotaExhausted, frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"})),
    (ContentRefused, frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})),
    (AccessDenied, frozenset({"api_key_invalid", "invalid_api_key", "authentication_error", "permission_error", "permission_denied"})),
    (ModelNotServed, frozenset({"model_not_found", "not_found_error", "not_found"})),
    (RateLimited, frozenset({"rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "too_many_requests_error"})),
    (ProviderTimeout, frozenset({"timeout_error", "deadline_exceeded"})),
)
_REJECTING_WORDS = frozenset({"invalid_request_error", "invalid_argument", "failed_precondition"})
_TOO_LONG = re.compile(
    r"context (length|window|size)|maximum context|(prompt|input|request) is too long|too many (input |prompt )?tokens"
    r"|input token count|max_total_tokens|reduce the length"
)
_NO_CREDIT = re.compile(r"credit balance|insufficient (credit|balance|funds)|spending limit|billing hard limit|payment required")
_BAD_KEY = re.compile(r"api key not valid|invalid api key|incorrect api key|wrong api key")
_UNSAFE = re.compile(r"content (policy|management policy)|flagged as (sensitive|potentially)|nsfw|safety (system|filter)")
_WORD = re.compile(r"[a-z_]{2,48}")
_PARAMETER = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}|\[\d{1,4}\]){0,6}")
_IDENTIFIER = re.compile(r"[\w.:-]{1,128}")
_ID_HEADERS = ("x-request-id", "request-id", "x-goog-request-id", "cf-ray")
_FACTS: Mapping[type[AdapterError], str] = {
    AccessDenied: "the provider does not accept the key for this model",
    QuotaExhausted: "the account at the provider has no credit left",
    ModelNotServed: "the provider does not serve this model",
    ContextTooLong: "the request is longer than the model accepts",
    ContentRefused: "the provider's safety rules stopped the request",
    RateLimited: "the provider limits the rate of requests",
    ProviderTimeout: "the provider gave up waiting",
    ProviderDown: "the provider failed",
    MalformedResponse: "the provider sent the request elsewhere; check the base URL",
    RequestRejected: "the provider refuses the request",
}


def refused(status: int | None, body: object, headers: Mapping[str, str], model: str, request_id: str | None = None) -> AdapterError:
    """The error for an answer with an error status, or for an error inside a stream (``status`` None)."""
    found = list(_errors(body))
    if status is None:
        status = next((error["code"] for error in found if isinstance(error.get("code"), int) and 400 <= error["code"] < 600), None)
    words = [word for error in found for word in _words(error)]
    said = " ".join(str(error[key]) for error in found for key in ("message", "detail", "title") if isinstance(error.get(key), str)).lower()
    kind = _kind(status, words, said)
    facts = [f"status {status}"] if status is not None else []
    facts += words[:1]
    facts += [f"at {error['param']}" for error in found if _PARAMETER.fullmatch(str(error.get("param", "")))][:1]
    return kind(
        _FACTS[kind] + (f" ({', '.join(facts)})" if facts else ""),
        model=model,
        status=status,
        request_id=request_id or identifier(headers),
        retry_after_s=retry_after_s(headers, body),
    )


def broken(exc: BaseException, model: str) -> AdapterError:
    """The error for a call that got no answer, or none that can be read.

    httpx, httpx2 and aiohttp name the same faults in three namespaces, of which any may be missing: the names decide.
    """
    chain = list(_causes(exc))
    names = [type(link).__name__ for link in chain]
    late = _among(names, "ConnectTimeout", "ConnectionTimeout")
    refused = any(isinstance(link, ConnectionRefusedError) for link in chain) or _among(names, "ConnectorError", "ConnectError")
    usage = Usage(0, 0) if late or refused else None  # what never arrived is not billed
    if refused or any(isinstance(link, ConnectionError) for link in chain) or _among(names, "ServerDisconnected"):
        return ProviderDown(f"the connection to the provider failed ({names[0]})", model=model, usage=usage)
    if any(isinstance(link, TimeoutError) for link in chain) or _among(names, "Timeout"):
        what = "connect to the provider" if late else "hear from the provider"
        return ProviderTimeout(f"could not {what} in time ({names[0]})", model=model, usage=usage)
    return ProviderDown(f"the connection to the provider broke ({names[0]})", model=model)


def unreadable(model: str, what: str, request_id: str | None = None, usage: Usage | None = None) -> MalformedResponse:
    """The error for an answer without the promised shape; ``what`` is ours, never the provider's words."""
    return MalformedResponse(f"the provider's answer cannot be read ({what})", model=model, request_id=request_id, usage=usage)


def cut_off(model: str, request_id: str | None = None) -> ProviderDown:
    """The error for a stream that ended before the answer did."""
    return ProviderDown("the stream ended before the answer did", model=model, request_id=request_id)


def identifier(headers: Mapping[str, str]) -> str | None:
    """The provider's request id, where it looks like one."""
    return next((headers[name] for name in _ID_HEADERS if _IDENTIFIER.fullmatch(headers.get(name, ""))), None)


def retry_after_s(headers: Mapping[str, str], body: object = None) -> float | None:
    """Seconds to wait as the headers (``retry-after-ms``, ``retry-after`` in seconds or as a date) or a Google body ask."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked is not None and (seconds := _number(asked)) is not None:
        return seconds
    if asked is not None:
        try:
            return max(0.0, parsedate_to_datetime(asked).timestamp() - time())
        except ValueError:
            return None
    delays = (detail.get("retryDelay") for error in _errors(body) for detail in _details(error))
    return next((seconds for delay in delays if (seconds := _number(str(delay).removesuffix("s"))) is not None), None)


def _kind(status: int | None, words: list[str], said: str) -> type[AdapterError]:
    if status is not None and status >= 500:
        return _BY_STATUS.get(status, ProviderDown)
    if status in (400, 422, None) and _TOO_LONG.search(said):
        return ContextTooLong
    if status in (400, 403, 429, None) and _NO_CREDIT.search(said):
        return QuotaExhausted
    if status in (400, 422, None) and _BAD_KEY.search(said):
        return AccessDenied
    if status in (400, 403, 422, None) and _UNSAFE.search(said):
        return ContentRefused
    for kind, known in _BY_WORD:
        if known.intersection(words):
            return kind
    if status is None:
        return RequestRejected if _REJECTING_WORDS.intersection(words) else ProviderDown
    if status < 400:
        return MalformedResponse
    return _BY_STATUS.get(status, RequestRejected)


def _errors(body: object) -> Iterator[Mapping[str, Any]]:
    """Where a body may describe an error: itself, its ``error``, or the first entry of a list."""
    if isinstance(body, list) and body:
        yield from _errors(body[0])
    elif isinstance(body, dict):
        inner = body.get("error")
        if isinstance(inner, dict):
            yield inner
        elif isinstance(inner, str):
            yield {"message": inner}
        yield body


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _words(error: Mapping[str, Any]) -> list[str]:
    """The error's machine-readable names; anything that is not a plain word could be the caller's text or a key."""
    given = [error.get("code"), *(detail.get("reason") for detail in _details(error)), error.get("type"), error.get("status")]
    lowered = [value.lower() for value in given if isinstance(value, str)]
    return [word for word in lowered if word != "error" and _WORD.fullmatch(word)]


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while exc is not None and seen < 10:
        yield exc
        exc, seen = exc.__cause__ or exc.__context__, seen + 1


def _among(names: list[str], *parts: str) -> bool:
    return any(part in name for name in names for part in parts)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e9 else None
