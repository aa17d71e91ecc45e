"""OpenAI and every provider that speaks its chat completions.

``client`` says what carries the bodies: the ``openai`` SDK, or connections of our own where CPU counts (``openai_direct``) and no proxy
stands between. Reading and writing them is ours either way (``openai_wire``).
"""

from collections.abc import AsyncGenerator, Callable
from time import perf_counter

import msgspec

from adapters import openai_wire as wire
from adapters.assembly import Assembly
from adapters.deadlines import Timed
from adapters.endpoints import OPENAI, Endpoint
from adapters.errors import AdapterError
from adapters.openai_calls import Caller, Client, Reply
from adapters.refusals import broken, cut_off, identifier, refused, unreadable
from adapters.sse import EventReader
from adapters.types import Completion, CompletionRequest, StreamEvent, Timeouts


class OpenAICompatibleAdapter(Timed):
    """One endpoint. ``api_key`` may be empty where the endpoint asks for none."""

    def __init__(
        self,
        api_key: str,
        *,
        endpoint: Endpoint = OPENAI,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        client: Client = Client.SDK,
    ) -> None:
        self.endpoint = endpoint
        super().__init__(timeouts)
        address = base_url or endpoint.base_url
        self._caller = _caller(client, address)(api_key, address, endpoint, self._timeouts)

    async def close(self) -> None:
        """Give back connections."""
        await self._caller.close()

    async def _complete(self, request: CompletionRequest) -> Completion:
        started = perf_counter()
        body = msgspec.json.encode(wire.encode(request, self.endpoint, stream=False))
        try:
            async with self._caller.send(body, stream=False) as reply:
                _accepted(reply, request)
                return wire.decode(reply.content, request, self.endpoint, perf_counter() - started, identifier(reply.headers))
        except wire.Unreadable as exc:
            raise unreadable(request.model, type(exc).__name__) from None
        except self._caller.faults as exc:
            raise broken(exc, request.model) from None  # its words may quote the prompt or the key

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        whole = Assembly(request.model)
        body = msgspec.json.encode(wire.encode(request, self.endpoint, stream=True))
        try:
            async with self._caller.send(body, stream=True) as reply:
                _accepted(reply, request)
                chunk_id, reason, usage = None, None, None
                events, done = EventReader(), False
                async for piece in reply.chunks:
                    for event in events.read(piece):
                        if event.data == b"[DONE]":
                            done = True
                            break
                        chunk = wire.decode_chunk(event.data)
                        if (error := wire.error_of(chunk)) is not None:
                            raise refused(None, error, reply.headers, request.model)
                        chunk_id, usage = chunk_id or chunk.id, chunk.usage or usage
                        for delta in wire.deltas(chunk):
                            yield whole.add(delta)
                        reason = next((choice.finish_reason for choice in chunk.choices if choice.finish_reason), reason)
                    if done:
                        break
                if not done and reason is None:
                    raise _ended_early(reply, request, identifier(reply.headers) or chunk_id)
        except wire.Unreadable as exc:
            raise unreadable(request.model, type(exc).__name__) from None
        except self._caller.faults as exc:
            raise broken(exc, request.model) from None
        tokens, cost = wire.read_usage(usage, self.endpoint)
        request_id = identifier(reply.headers) or chunk_id
        yield whole.whole(wire.read_reason(reason), tokens, request_id=request_id, cost_usd=cost)


def _accepted(reply: Reply, request: CompletionRequest) -> None:
    """Raises what the provider refused the request with."""
    if reply.status != 200:
        raise refused(reply.status, _read(reply.content), reply.headers, request.model)


def _read(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except wire.Unreadable:
        return None


def _ended_early(reply: Reply, request: CompletionRequest, request_id: str | None) -> AdapterError:
    kind = reply.headers.get("content-type", "")
    return cut_off(request.model, request_id) if "event-stream" in kind else unreadable(request.model, "no event stream", request_id)


def _caller(client: Client, address: str) -> Callable[[str, str, Endpoint, Timeouts], Caller]:
    if client is Client.DIRECT:
        from adapters.openai_direct import DirectCaller, proxied

        if not proxied(address):
            return DirectCaller
    from adapters.openai_sdk import SdkCaller

    return SdkCaller
