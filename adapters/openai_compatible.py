"""OpenAI and every provider that speaks its chat completions, through the ``openai`` SDK.

The SDK keeps the key, the connections and the mapping of failures; bodies go past its request and response models (``client.post``),
which would take two thirds of a call's CPU, so reading them is ours.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import Any

import httpx2
import msgspec
import openai

from adapters import openai_wire as wire
from adapters.assembly import Assembly
from adapters.deadlines import answered, paced
from adapters.endpoints import OPENAI, Endpoint
from adapters.errors import AdapterError
from adapters.refusals import broken, cut_off, identifier, refused, unreadable
from adapters.sse import server_events
from adapters.types import Completion, CompletionRequest, StreamEvent, Timeouts

_PATH = "/chat/completions"
_HEADERS = {"Content-Type": "application/json"}


class OpenAICompatibleAdapter:
    """One endpoint. ``api_key`` may be empty where the endpoint asks for none."""

    def __init__(self, api_key: str, *, endpoint: Endpoint = OPENAI, base_url: str | None = None, timeouts: Timeouts | None = None) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts or Timeouts()
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url or endpoint.base_url,
            max_retries=0,  # the service owns retries, so that it can count and pay for each
            timeout=httpx2.Timeout(None, connect=self._timeouts.connect_s),
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),
        )
        if endpoint.name != OPENAI.name:
            self._client.organization = self._client.project = None  # the SDK reads OpenAI's from the environment

    async def complete(self, request: CompletionRequest) -> Completion:
        """Make one call, without retries.

        Raises ``AdapterError``; cancellation passes through and closes the connection.
        """
        return await answered(self._complete(request), request, self._timeouts)

    def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer's pieces in order and then the whole ``Completion``, without retries.

        Raises ``AdapterError``.
        """
        return paced(self._stream(request), request, self._timeouts)

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()

    async def _complete(self, request: CompletionRequest) -> Completion:
        started = perf_counter()
        body = msgspec.json.encode(wire.encode(request, self.endpoint, stream=False))
        try:
            response = await self._client.post(_PATH, cast_to=httpx2.Response, content=body, options={"headers": _HEADERS})
            return wire.decode(response.content, request, self.endpoint, perf_counter() - started, identifier(response.headers))
        except (openai.OpenAIError, httpx2.HTTPError, *wire.Unreadable) as exc:
            raise translate(exc, request.model) from None  # the SDK's words may quote the prompt or the key

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        whole = Assembly(request.model)
        body = msgspec.json.encode(wire.encode(request, self.endpoint, stream=True))
        try:
            response: Any = await self._client.post(
                _PATH,
                cast_to=httpx2.Response,
                content=body,
                options={"headers": _HEADERS},
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
            async with aclosing(response), aclosing(self._events(response, request, whole)) as events:
                async for event in events:
                    yield event
        except (openai.OpenAIError, httpx2.HTTPError, *wire.Unreadable) as exc:
            raise translate(exc, request.model) from None

    async def _events(self, response: httpx2.Response, request: CompletionRequest, whole: Assembly) -> AsyncGenerator[StreamEvent, None]:
        request_id, reason, usage = identifier(response.headers), None, None
        async for event in server_events(response.aiter_bytes()):
            if event.data == b"[DONE]":
                break
            chunk = wire.decode_chunk(event.data)
            if (error := wire.error_of(chunk)) is not None:
                raise refused(None, error, response.headers, request.model)
            request_id, usage = request_id or chunk.id, chunk.usage or usage
            for delta in wire.deltas(chunk):
                yield whole.add(delta)
            reason = next((choice.finish_reason for choice in chunk.choices if choice.finish_reason), reason)
        else:
            if reason is None:
                raise _ended_early(response, request, request_id)
        tokens, cost = wire.read_usage(usage, self.endpoint)
        yield whole.whole(wire.read_reason(reason), tokens, request_id=request_id, cost_usd=cost)


def translate(exc: Exception, model: str) -> AdapterError:
    """Our error for the SDK's."""
    if isinstance(exc, openai.APIStatusError):
        return refused(exc.status_code, _body(exc.response), exc.response.headers, model)
    if isinstance(exc, wire.Unreadable):
        return unreadable(model, type(exc).__name__)
    return broken(exc, model)


def _ended_early(response: httpx2.Response, request: CompletionRequest, request_id: str | None) -> AdapterError:
    kind = response.headers.get("content-type", "")
    return cut_off(request.model, request_id) if "event-stream" in kind else unreadable(request.model, "no event stream", request_id)


def _body(response: httpx2.Response) -> object:
    try:
        return msgspec.json.decode(response.content)
    except wire.Unreadable:
        return None
