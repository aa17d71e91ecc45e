"""Anthropic, with the real SDK against the stub."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("anthropic", reason="needs the extra anthropic")

from provider_contract import CALLS, CONVERSATION, PNG, SCHEMA, SECRET, WAYS, WEATHER, ProviderContract, call, collect

from adapters.errors import QuotaExhausted, RequestRejected
from adapters.types import FinishReason, Image, JsonOutput, Message, ToolChoice, Usage
from router.testing import Scenario, Stub

WIRE_MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this, and the weather there?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]}},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Zürich", "days": 2}},
            {"type": "tool_use", "id": "call_b", "name": "weather", "input": {"city": "Oslo"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_a", "content": [{"type": "text", "text": '{"sky": "clear"}'}]},
            {"type": "tool_result", "tool_use_id": "call_b", "content": [{"type": "text", "text": 'rain \u2028 & "wind"'}]},
            {"type": "text", "text": "And tomorrow? 🦊"},
        ],
    },
]


class TestAnthropic(ProviderContract):
    provider = "anthropic"
    speaks = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    model = "anthropic/claude-3-5-haiku"
    priced = "anthropic/claude-haiku-4-5"

    async def test_the_wire_in(self, adapter: Any, stub: Stub) -> None:
        request = self.request(
            *CONVERSATION,
            max_output_tokens=100,
            temperature=1.5,
            top_p=0.9,
            seed=7,
            stop=("END",),
            tools=(WEATHER,),
            tool_choice=ToolChoice("required"),
            parallel_tool_calls=False,
            json_output=JsonOutput(SCHEMA),
            extra={"top_k": 5, "user": "u1", "frequency_penalty": 1},
        )
        await adapter.complete(request)
        (received,) = stub.requests
        assert received.body == {
            "model": "claude-3-5-haiku",
            "max_tokens": 100,
            "system": "Be brief.",
            "messages": WIRE_MESSAGES,
            "temperature": 1.0,
            "top_p": 0.9,
            "stop_sequences": ["END"],
            "tools": [{"name": "weather", "description": "The weather of a city", "input_schema": dict(WEATHER.parameters)}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "top_k": 5,
            "metadata": {"user_id": "u1"},
        }
        assert received.path == "/v1/messages"
        assert received.headers["authorization"] == f"Bearer {SECRET}"
        assert received.headers["anthropic-version"]

    async def test_what_it_needs_and_the_caller_left_open(self, adapter: Any, stub: Stub) -> None:
        await collect(adapter, self.request(Message("user", "a"), json_output=JsonOutput()))
        assert stub.requests[0].body == {
            "model": "claude-3-5-haiku",
            "max_tokens": 4096,
            "system": "Answer with one JSON object and nothing else.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            "stream": True,
        }

    async def test_a_linked_picture_stays_a_link(self, adapter: Any, stub: Stub) -> None:
        await adapter.complete(self.request(Message("user", (Image("https://example.org/a.png"),))))
        source = {"type": "url", "url": "https://example.org/a.png"}
        assert stub.requests[0].body["messages"][0]["content"] == [{"type": "image", "source": source}]

    @WAYS
    async def test_what_the_cache_read_and_stored_counts_as_input(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(text="Yes.", input_tokens=100, cached_input_tokens=60, cache_write_tokens=30))
        assert (await call(adapter, self.request(), way)).usage == Usage(100, 1, 60, 0, 30)

    async def test_reasons(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(finish_reason=FinishReason.CONTENT_FILTER))
        assert (await adapter.complete(self.request())).finish_reason is FinishReason.CONTENT_FILTER

    async def test_an_empty_account_is_named_so(self, adapter: Any, stub: Stub) -> None:
        words = "Your credit balance is too low to access the Anthropic API."
        stub.script(self.name, Scenario(status=400, error_message=words))
        with pytest.raises(QuotaExhausted):
            await adapter.complete(self.request())

    async def test_arguments_that_are_no_object_cannot_be_told(self, adapter: Any, stub: Stub) -> None:
        for arguments in ("{oops", "[1]"):
            with pytest.raises(RequestRejected, match="JSON object"):
                await adapter.complete(self.request(Message("assistant", "", (replace(CALLS[0], arguments=arguments),))))
        assert stub.requests == []
