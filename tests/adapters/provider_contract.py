"""What every provider's adapter promises, shown with the real SDK against the stub. A provider's module adds what is its own."""

import asyncio
import socket
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from adapters import registry
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
from adapters.types import (
    Completion,
    CompletionRequest,
    FinishReason,
    Image,
    JsonOutput,
    Message,
    StreamEvent,
    Text,
    TextDelta,
    Timeouts,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from router.domain.catalog import load_shipped
from router.domain.events import CostSource
from router.services.billing import Billing
from router.testing import Fault, Received, Scenario, Stub

SECRET = "sk-Very-Secret-0123456789"
PROMPT = "Tell nobody about the harvest"
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = Tool("weather", "The weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CALLS = (
    ToolCall("call_a", "weather", '{"city":"Zürich","days":2}'),
    ToolCall("call_b", "weather", '{"city":"Oslo"}'),
)
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", (Text("What is this, and the weather there?"), Image(PNG))),
    Message("assistant", "Let me look.", CALLS),
    Message("tool", '{"sky": "clear"}', tool_call_id="call_a"),
    Message("tool", 'rain \u2028 & "wind"', tool_call_id="call_b"),
    Message("user", "And tomorrow? 🦊"),
)
"""A conversation with a picture and two tools that ran side by side."""
STATUSES = {
    400: RequestRejected,
    401: AccessDenied,
    402: QuotaExhausted,
    403: AccessDenied,
    404: ModelNotServed,
    408: ProviderTimeout,
    413: ContextTooLong,
    422: RequestRejected,
    429: RateLimited,
    500: ProviderDown,
    502: ProviderDown,
    503: ProviderDown,
    504: ProviderTimeout,
    529: ProviderDown,
}
FAULTS = {
    Fault.GARBAGE: MalformedResponse,
    Fault.HTML: MalformedResponse,
    Fault.EMPTY_OBJECT: MalformedResponse,
    Fault.DROP: ProviderDown,
    Fault.CUT: ProviderDown,
}
STREAM_FAULTS = FAULTS | {Fault.QUIET_END: ProviderDown, Fault.STREAM_ERROR: ProviderDown}
WAYS = pytest.mark.parametrize("way", ["complete", "stream"])


async def collect(adapter: Any, request: CompletionRequest, found: list[StreamEvent] | None = None) -> list[StreamEvent]:
    found = [] if found is None else found
    async with aclosing(adapter.stream(request)) as events:
        async for event in events:
            found.append(event)
    return found


async def call(adapter: Any, request: CompletionRequest, way: str) -> Completion:
    if way == "complete":
        return await adapter.complete(request)
    last = (await collect(adapter, request))[-1]
    assert isinstance(last, Completion)
    return last


async def until(what: Any, within_s: float = 60.0) -> bool:
    """Whether it comes true; a machine that has much else to do is waited for."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if what():
            return True
        await asyncio.sleep(0.01)
    return bool(what())


def keeps_secrets(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert SECRET not in shown
    assert PROMPT not in shown


class ProviderContract:
    provider: ClassVar[str]
    """In the registry."""
    speaks: ClassVar[str]
    """The stub's wire format."""
    key_variable: ClassVar[str]
    model: ClassVar[str]
    priced: ClassVar[str | None] = None
    """A model whose price is in the catalogue, where ``model`` is not."""
    options: ClassVar[dict[str, Any]] = {}
    """Of the adapter, beside what the registry gives it."""
    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Of: tools, json, cached, reasoning, ids."""

    @pytest.fixture
    async def adapter(self, stub: Stub) -> AsyncIterator[Any]:
        adapter = self.built(stub.base_url(self.provider))
        yield adapter
        await adapter.close()

    def built(self, base_url: str, **limits: float) -> Any:
        timeouts = Timeouts(**{"connect_s": 20.0, "first_token_s": 60.0, "idle_s": 60.0, "total_s": 60.0, **limits})
        entries = registry.ADAPTERS
        if self.options:
            entry = entries[self.provider]
            entries = {self.provider: replace(entry, options={**entry.options, **self.options})}
        return registry.build(self.provider, environ={self.key_variable: SECRET}, base_url=base_url, timeouts=timeouts, entries=entries)

    def request(self, *messages: Message, **facts: Any) -> CompletionRequest:
        return CompletionRequest(self.model, messages or (Message("user", PROMPT),), **facts)

    @property
    def name(self) -> str:
        return self.model.partition("/")[2]

    def calls(self, stub: Stub) -> list[Received]:
        """What came in, without looking after a prediction."""
        return [received for received in stub.requests if received.body is not None]

    def skip_without(self, feature: str) -> None:
        if feature in self.unsupported:
            pytest.skip(f"{self.provider} has no {feature}")

    # -- answers

    @WAYS
    async def test_a_text_is_answered_with_usage_and_ids(self, adapter: Any, stub: Stub, way: str) -> None:
        said = await call(adapter, self.request(Message("system", "Be brief."), Message("user", PROMPT), max_output_tokens=50), way)
        assert said.text == "The quick brown fox jumps over the lazy dog."
        assert said.finish_reason is FinishReason.STOP
        assert said.model == self.model
        assert said.usage is not None
        assert (said.usage.input_tokens, said.usage.output_tokens) == (7, 9)
        assert (said.request_id is None) == ("ids" in self.unsupported)
        assert "stub-" in (said.request_id or "stub-")
        assert said.latency_s > 0
        assert (said.ttft_s is None) == (way == "complete")
        received = self.calls(stub)[0]
        assert received.provider == self.speaks
        assert received.model == self.name
        assert received.stream == (way == "stream")
        assert [(message.role, message.text) for message in received.messages] == [("system", "Be brief."), ("user", PROMPT)]
        assert any(SECRET in received.headers.get(header, "") for header in ("authorization", "x-goog-api-key"))
        assert len(self.calls(stub)) == 1

    async def test_a_stream_hands_over_every_piece_in_order_as_it_is_made(self, adapter: Any, stub: Stub) -> None:
        text = "one two\u2028three four\r\nfive 🦊 six"
        stub.script(self.name, Scenario(text=text, chunk_delay_s=0.01))
        *pieces, whole = await collect(adapter, self.request())
        assert all(isinstance(piece, TextDelta) for piece in pieces)
        assert len(pieces) == 7
        assert isinstance(whole, Completion)
        joined = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
        assert joined == whole.text
        assert joined.replace("\r\n", "\n") == text.replace("\r\n", "\n")
        assert whole.ttft_s is not None
        assert 0 < whole.ttft_s < whole.latency_s
        stub.script(self.name, Scenario(text=text, fault=Fault.STALL, fault_after_chunks=3))
        async with aclosing(adapter.stream(self.request())) as events:
            begun = [await anext(events) for _ in range(3)]  # of a stream that never goes on
        assert begun == pieces[:3]

    @WAYS
    async def test_the_output_limit_is_sent_and_its_effect_read(self, adapter: Any, way: str) -> None:
        said = await call(adapter, self.request(max_output_tokens=4), way)
        assert said.text == "The quick brown fox"
        assert said.finish_reason is FinishReason.LENGTH

    @WAYS
    async def test_a_picture_reaches_the_model(self, adapter: Any, stub: Stub, way: str) -> None:
        await call(adapter, self.request(Message("user", (Text("What is this?"), Image(PNG)))), way)
        (message,) = self.calls(stub)[0].messages
        assert message.text == "What is this?"
        assert message.images == (Image(PNG),)

    @pytest.mark.parametrize("url", ["http://example.org/x.png", "file:///etc/passwd", "data:image/png,plain"])
    async def test_a_picture_is_only_taken_from_data_or_https(self, adapter: Any, url: str) -> None:
        if self.speaks in ("openai", "replicate"):
            pytest.skip(f"{self.provider} gets the URL as it is")
        with pytest.raises(RequestRejected, match="https"):
            await adapter.complete(self.request(Message("user", (Image(url),))))

    @WAYS
    async def test_tools_are_offered_and_called_side_by_side(self, adapter: Any, stub: Stub, way: str) -> None:
        self.skip_without("tools")
        stub.script(self.name, Scenario(text="Let me look.", tool_calls=CALLS))
        said = await call(adapter, self.request(tools=(WEATHER,)), way)
        assert said.finish_reason is FinishReason.TOOL_CALLS
        assert said.text == "Let me look."
        assert [(found.id, found.name) for found in said.tool_calls] == [("call_a", "weather"), ("call_b", "weather")]
        assert [found.arguments.replace(": ", ":").replace(", ", ",") for found in said.tool_calls] == [each.arguments for each in CALLS]

    async def test_pieces_of_tool_calls_are_numbered_from_zero(self, adapter: Any, stub: Stub) -> None:
        self.skip_without("tools")
        stub.script(self.name, Scenario(text="Let me look.", reasoning="", tool_calls=CALLS))
        pieces = [event for event in await collect(adapter, self.request(tools=(WEATHER,))) if isinstance(event, ToolCallDelta)]
        assert [(piece.index, piece.id, piece.name) for piece in pieces if piece.id] == [(0, "call_a", "weather"), (1, "call_b", "weather")]
        assert {piece.index for piece in pieces} == {0, 1}

    @WAYS
    async def test_json_output_is_asked_for(self, adapter: Any, stub: Stub, way: str) -> None:
        self.skip_without("json")
        stub.script(self.name, Scenario(text='{"answer": 42}'))
        said = await call(adapter, self.request(json_output=JsonOutput(SCHEMA)), way)
        assert said.text == '{"answer": 42}'
        assert str(SCHEMA["required"]) in str(self.calls(stub)[0].body)

    @WAYS
    async def test_cached_and_reasoning_tokens_are_told_apart(self, adapter: Any, stub: Stub, way: str) -> None:
        self.skip_without("cached")
        reasoning = "" if "reasoning" in self.unsupported else "Let me think."
        stub.script(self.name, Scenario(text="Yes indeed.", reasoning=reasoning, input_tokens=100, cached_input_tokens=60))
        said = await call(adapter, self.request(max_output_tokens=50), way)
        assert said.usage is not None
        assert (said.usage.input_tokens, said.usage.cached_input_tokens) == (100, 60)
        assert (said.usage.output_tokens, said.usage.reasoning_tokens) == ((5, 3) if reasoning else (2, 0))
        assert said.text == "Yes indeed."
        assert said.reasoning == reasoning

    @WAYS
    async def test_an_answer_has_its_cost_at_the_catalogues_price(self, adapter: Any, stub: Stub, way: str) -> None:
        model = self.priced or self.model
        stub.script(model.partition("/")[2], Scenario(text="Yes indeed.", input_tokens=1000))
        said = await call(adapter, replace(self.request(), model=model), way)
        price = load_shipped().get(model).price
        assert price is not None
        cost, source = Billing({model: price}.get).cost(said, 0)
        assert source is CostSource.COMPUTED
        assert cost == pytest.approx(1e-6 * (1000 * price.input_usd_per_mtok + 2 * price.output_usd_per_mtok))
        assert Billing(lambda _: None).cost(said, 0) == (None, None), "unknown, and never 0"

    async def test_fifty_streams_at_once_stay_apart(self, adapter: Any, stub: Stub) -> None:
        def model(i: int) -> str:
            return f"{self.model}-{i}" if "/" in self.model else self.model

        for i in range(50):
            stub.script(model(i).partition("/")[2], Scenario(text=" ".join(f"{i}.{k}" for k in range(8)), chunk_delay_s=0.002))
        events = await asyncio.gather(*(collect(adapter, replace(self.request(), model=model(i))) for i in range(50)))
        for i, stream in enumerate(events):
            assert isinstance(stream[-1], Completion)
            assert stream[-1].text == " ".join(f"{i}.{k}" for k in range(8))

    # -- errors

    @WAYS
    @pytest.mark.parametrize("status", STATUSES)
    async def test_a_status_has_its_error(self, adapter: Any, stub: Stub, status: int, way: str) -> None:
        stub.script(self.name, Scenario(status=status))
        with pytest.raises(AdapterError) as refused:
            await call(adapter, self.request(), way)
        assert type(refused.value) is STATUSES[status]
        assert refused.value.status == status
        assert refused.value.model == self.model
        assert f"status {status}" in str(refused.value)
        assert refused.value.request_id == "req_stub"
        keeps_secrets(refused.value)
        assert len(self.calls(stub)) == 1  # no hidden retry

    @WAYS
    async def test_redirects_are_not_followed(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(status=302))
        with pytest.raises(MalformedResponse, match="base URL"):
            await call(adapter, self.request(), way)

    @WAYS
    async def test_a_request_that_is_too_long_is_named_so(self, adapter: Any, stub: Stub, way: str) -> None:
        words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
        for status in (400, 422):
            stub.script(self.name, Scenario(status=status, error_message=words))
            with pytest.raises(ContextTooLong):
                await call(adapter, self.request(), way)

    async def test_a_refusal_of_the_content_is_named_so(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(status=400, error_message="Your prompt violates our content policy."))
        with pytest.raises(ContentRefused):
            await adapter.complete(self.request())

    @pytest.mark.parametrize(
        ("asked", "seconds"), [(None, None), ("7", 7.0), ("0.5", 0.5), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
    )
    async def test_retry_after_is_heard(self, adapter: Any, stub: Stub, asked: str | None, seconds: float | None) -> None:
        for status in (429, 503):
            stub.script(self.name, Scenario(status=status, retry_after=asked))
            with pytest.raises((RateLimited, ProviderDown)) as limited:
                await adapter.complete(self.request())
            assert limited.value.retry_after_s == seconds

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_bad_answer_has_its_error(self, adapter: Any, stub: Stub, fault: Fault) -> None:
        stub.script(self.name, Scenario(fault=fault))
        with pytest.raises(AdapterError) as broken:
            await adapter.complete(self.request())
        assert type(broken.value) is FAULTS[fault]
        keeps_secrets(broken.value)
        assert len(self.calls(stub)) == 1

    @pytest.mark.parametrize("fault", STREAM_FAULTS)
    async def test_a_bad_stream_has_its_error(self, adapter: Any, stub: Stub, fault: Fault) -> None:
        stub.script(self.name, Scenario(fault=fault))
        pieces: list[StreamEvent] = []
        with pytest.raises(AdapterError) as broken:
            await collect(adapter, self.request(), pieces)
        assert type(broken.value) is STREAM_FAULTS[fault]
        assert len(pieces) in ((2,) if fault in (Fault.CUT, Fault.QUIET_END, Fault.STREAM_ERROR) else (0,))
        keeps_secrets(broken.value)
        assert len(self.calls(stub)) == 1

    @WAYS
    async def test_a_refused_connection_has_its_error(self, way: str) -> None:
        with socket.socket() as taken:  # and nobody listens
            taken.bind(("127.0.0.1", 0))
            adapter = self.built(f"http://127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(ProviderDown) as down:
                await call(adapter, self.request(), way)
        keeps_secrets(down.value)
        assert down.value.usage == Usage(0, 0), "what never arrived is not billed"
        await adapter.close()

    @WAYS
    async def test_a_connection_that_does_not_come_about_has_its_error(self, way: str) -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for waiting in (first, second):  # fill the queue of connections nobody accepts
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            adapter = self.built(f"http://127.0.0.1:{full.getsockname()[1]}", connect_s=0.2)
            with pytest.raises(ProviderTimeout, match="connect") as late:
                await call(adapter, self.request(), way)
            assert late.value.usage == Usage(0, 0)
            await adapter.close()

    # -- deadlines and leaving early

    @WAYS
    async def test_no_answer_in_time(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(fault=Fault.HANG))
        with pytest.raises(ProviderTimeout, match=r"0\.2 s") as late:
            await call(adapter, self.request(timeout_s=0.2), way)
        keeps_secrets(late.value)
        assert await until(lambda: self.gone(stub))

    async def test_no_first_token_in_time(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(fault=Fault.STALL, fault_after_chunks=0))
        with pytest.raises(ProviderTimeout, match=r"first token within 0\.2 s"):
            await collect(adapter, self.request(first_token_timeout_s=0.2))
        assert await until(lambda: self.gone(stub))

    async def test_no_further_token_in_time(self, stub: Stub) -> None:
        adapter = self.built(stub.base_url(self.provider), idle_s=0.2)
        stub.script(self.name, Scenario(fault=Fault.STALL))
        with pytest.raises(ProviderTimeout, match=r"further token within 0\.2 s"):
            await collect(adapter, self.request())
        assert await until(lambda: self.gone(stub))
        await adapter.close()

    async def test_a_stream_that_takes_too_long_as_a_whole(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(text="a " * 2_000, chunk_delay_s=0.05))
        with pytest.raises(ProviderTimeout, match=r"whole answer within 0\.4 s"):
            await collect(adapter, self.request(timeout_s=0.4))
        assert await until(lambda: self.gone(stub))

    @WAYS
    async def test_cancelling_passes_through_and_closes_the_upstream(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(fault=Fault.HANG))
        task = asyncio.create_task(call(adapter, self.request(), way))
        assert await until(lambda: bool(stub.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: self.gone(stub))

    async def test_cancelling_between_tokens_closes_the_upstream(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(fault=Fault.STALL))
        task = asyncio.create_task(collect(adapter, self.request()))
        assert await until(lambda: any(received.chunks_sent == 2 for received in stub.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: self.gone(stub))

    async def test_closing_a_stream_closes_the_upstream(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(text="a " * 10_000, chunk_delay_s=0.01))
        events = adapter.stream(self.request())
        assert await anext(events) == TextDelta("a")
        await events.aclose()
        assert await until(lambda: self.gone(stub))
        stub.script(self.name, Scenario())
        assert (await adapter.complete(self.request())).text  # and the adapter goes on

    def gone(self, stub: Stub) -> bool:
        """The client has hung up on every call that was under way; one that came too late to be sent was never there."""
        return all(received.left_at is not None or received.answered_at is not None for received in stub.requests)

    # -- secrets

    async def test_nothing_shown_holds_the_key_or_the_prompt(self, adapter: Any) -> None:
        request = self.request(Message("user", (Text(PROMPT), Image(PNG))), tools=(WEATHER,), extra={"user": PROMPT})
        said = await adapter.complete(self.request())
        shown = repr(adapter) + repr(request) + repr(said) + str(vars(adapter))
        assert SECRET not in shown
        assert PROMPT not in shown
        assert said.text not in shown
