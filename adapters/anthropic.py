"""Anthropic, through the ``anthropic`` SDK; bodies go past its models, as in ``openai_compatible``."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import Any

import anthropic
import httpx2
import msgspec

from adapters import anthropic_wire as wire
from adapters.assembly import Assembly
from adapters.deadlines import Timed
from adapters.errors import AdapterError
from adapters.refusals import broken, cut_off, identifier, refused, unreadable
from adapters.sse import server_events
from adapters.types import Completion, CompletionRequest, FinishReason, StreamEvent, Timeouts

BASE_URL = "https://api.anthropic.com"
_PATH = "/v1/messages"
_HEADERS = {"Content-Type": "application/json"}


class AnthropicAdapter(Timed):
    """Anthropic's messages API."""

    def __init__(self, api_key: str, *, base_url: str | None = None, timeouts: Timeouts | None = None) -> None:
        super().__init__(timeouts)
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or BASE_URL,
            max_retries=0,  # the service owns retries, so that it can count and pay for each
            timeout=httpx2.Timeout(None, connect=self._timeouts.connect_s),
            open_telemetry=False,
            http_client=anthropic.DefaultAioHttpClient(follow_redirects=False),
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()

    async def _complete(self, request: CompletionRequest) -> Completion:
        started = perf_counter()
        body = msgspec.json.encode(wire.encode(request, stream=False))
        try:
            response = await self._client.post(_PATH, cast_to=httpx2.Response, content=body, options={"headers": _HEADERS})
            return wire.decode(response.content, request, perf_counter() - started, identifier(response.headers))
        except (anthropic.AnthropicError, httpx2.HTTPError, *wire.Unreadable) as exc:
            raise translate(exc, request.model) from None  # the SDK's words may quote the prompt or the key

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        whole = Assembly(request.model)
        body = msgspec.json.encode(wire.encode(request, stream=True))
        try:
            response: Any = await self._client.post(
                _PATH,
                cast_to=httpx2.Response,
                content=body,
                options={"headers": _HEADERS},
                stream=True,
                stream_cls=anthropic.AsyncStream[object],
            )
            async with aclosing(response), aclosing(_events(response, request, whole)) as events:
                async for event in events:
                    yield event
        except (anthropic.AnthropicError, httpx2.HTTPError, *wire.Unreadable) as exc:
            raise translate(exc, request.model) from None


async def _events(response: httpx2.Response, request: CompletionRequest, whole: Assembly) -> AsyncGenerator[StreamEvent, None]:
    request_id, counts = identifier(response.headers), wire.TokenCounts()
    reason: FinishReason | None = None
    async for sent in server_events(response.aiter_bytes()):
        event = wire.decode_event(sent.data)
        if (error := wire.error_of(event)) is not None:
            raise refused(None, error, response.headers, request.model)
        if event.message is not None:
            request_id, counts = request_id or event.message.id, wire.merged(counts, event.message.usage)
        counts = wire.merged(counts, event.usage)
        if (delta := wire.delta_of(event)) is not None:
            yield whole.add(delta)
        if event.delta is not None and event.delta.stop_reason is not None:
            reason = wire.read_reason(event.delta.stop_reason)
        if event.type == "message_stop":
            break
    if reason is None and "event-stream" not in response.headers.get("content-type", ""):
        raise unreadable(request.model, "no event stream", request_id)
    if reason is None:
        raise cut_off(request.model, request_id)
    yield whole.whole(reason, wire.read_usage(counts), request_id=request_id)


def translate(exc: Exception, model: str) -> AdapterError:
    """Our error for the SDK's."""
    if isinstance(exc, anthropic.APIStatusError):
        return refused(exc.status_code, _body(exc.response), exc.response.headers, model)
    if isinstance(exc, wire.Unreadable):
        return unreadable(model, type(exc).__name__)
    return broken(exc, model)


def _body(response: httpx2.Response) -> object:
    try:
        return msgspec.json.decode(response.content)
    except wire.Unreadable:
        return None
