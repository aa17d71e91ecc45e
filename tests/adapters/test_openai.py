"""OpenAI, with the real SDK against the stub."""

import json
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from provider_contract import CALLS, CONVERSATION, PNG, SCHEMA, SECRET, WEATHER, ProviderContract, collect

from adapters import registry
from adapters.endpoints import Endpoint
from adapters.errors import AccessDenied, ProviderDown, QuotaExhausted, RateLimited
from adapters.types import Completion, JsonOutput, Message, StreamEvent, ToolCallDelta, ToolChoice
from router.testing import Fault, Scenario, Stub

WIRE_CALLS = [
    {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich","days":2}'}},
    {"id": "call_b", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
]
WIRE_MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this, and the weather there?"},
            {"type": "image_url", "image_url": {"url": PNG}},
        ],
    },
    {"role": "assistant", "content": "Let me look.", "tool_calls": WIRE_CALLS},
    {"role": "tool", "content": '{"sky": "clear"}', "tool_call_id": "call_a"},
    {"role": "tool", "content": 'rain \u2028 & "wind"', "tool_call_id": "call_b"},
    {"role": "user", "content": "And tomorrow? 🦊"},
]


class TestOpenAI(ProviderContract):
    provider = "openai"
    speaks = "openai"
    key_variable = "OPENAI_API_KEY"
    model = "openai/gpt-4o"

    async def test_the_wire_in(self, adapter: Any, stub: Stub) -> None:
        request = self.request(
            *CONVERSATION,
            max_output_tokens=100,
            temperature=0.5,
            top_p=0.9,
            seed=7,
            stop=("END",),
            tools=(WEATHER,),
            tool_choice=ToolChoice("tool", "weather"),
            parallel_tool_calls=False,
            json_output=JsonOutput(SCHEMA, "answer", strict=True),
            extra={"logprobs": True, "model": "another", "stream": True, "reasoning_effort": "low"},
        )
        await adapter.complete(request)
        (received,) = stub.requests
        assert received.body == {
            "model": "gpt-4o",
            "messages": WIRE_MESSAGES,
            "max_completion_tokens": 100,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "stop": ["END"],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "weather", "description": "The weather of a city", "parameters": dict(WEATHER.parameters)},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
            "logprobs": True,
            "reasoning_effort": "low",
        }
        assert received.path == "/v1/chat/completions"
        assert received.headers["authorization"] == f"Bearer {SECRET}"
        assert received.headers["content-type"] == "application/json"

    async def test_a_stream_asks_for_its_usage(self, adapter: Any, stub: Stub) -> None:
        await collect(adapter, self.request(json_output=JsonOutput(), tool_choice=ToolChoice("required"), tools=(WEATHER,)))
        body = stub.requests[0].body
        assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
        assert (body["response_format"], body["tool_choice"]) == ({"type": "json_object"}, "required")

    async def test_the_wire_out(self, adapter: Any, stub: Stub) -> None:
        stub.script("gpt-4o", Scenario(text="Hm.", tool_calls=CALLS, cached_input_tokens=2))
        said = await adapter.complete(self.request(Message("user", "a b c")))
        assert json.loads(said.body or b"")["choices"][0]["message"] == {
            "role": "assistant",
            "content": "Hm.",
            "refusal": None,
            "tool_calls": WIRE_CALLS,
        }
        assert said.tool_calls == CALLS
        assert said.cost_usd is None

    async def test_refusals_of_quota_and_key_are_told_from_limits(self, adapter: Any, stub: Stub) -> None:
        for status, code, kind in (
            (429, "insufficient_quota", QuotaExhausted),
            (429, "rate_limit_exceeded", RateLimited),
            (400, "invalid_api_key", AccessDenied),
            (403, "model_not_found", None),
        ):
            stub.script("gpt-4o", Scenario(status=status, error_code=code))
            with pytest.raises(Exception, match=str(status)) as refused:
                await adapter.complete(self.request())
            assert type(refused.value).__name__ == (kind.__name__ if kind else "ModelNotServed")
            assert code in str(refused.value)

    async def test_a_row_of_data_serves_any_base_url(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another")
        row = Endpoint(
            "house",
            stub.base_url("openai"),
            limit_field="max_tokens",
            reports_stream_usage=False,
            cost_field="cost",
            not_taken=frozenset({"seed"}),
        )
        adapter = registry.build("house", environ={}, entries=registry.with_endpoints([row]))
        events = await collect(adapter, self.request(max_output_tokens=5, seed=1))
        (received,) = stub.requests
        assert received.body["max_tokens"] == 5
        assert {"seed", "stream_options", "max_completion_tokens"}.isdisjoint(received.body)
        assert not {name for name in received.headers if name.startswith("openai-")}
        assert isinstance(events[-1], Completion)
        assert events[-1].usage is None
        assert events[-1].text == "The quick brown fox jumps"
        await adapter.close()

    async def test_a_signature_travels_with_its_call(self, adapter: Any, stub: Stub) -> None:
        signed = replace(CALLS[0], signature="c2ln")
        await adapter.complete(self.request(Message("assistant", "", (signed,)), Message("tool", "x", tool_call_id="call_a")))
        call = stub.requests[0].body["messages"][0]
        assert call["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
        assert call["content"] is None

    async def test_a_cut_in_a_tool_call_is_no_answer(self, adapter: Any, stub: Stub) -> None:
        stub.script("gpt-4o", Scenario(text="", tool_calls=CALLS, fault=Fault.CUT, fault_after_chunks=1))
        pieces: list[StreamEvent] = []
        with pytest.raises(ProviderDown):
            await collect(adapter, self.request(tools=(WEATHER,)), pieces)
        assert pieces
        assert all(isinstance(piece, ToolCallDelta) for piece in pieces)
