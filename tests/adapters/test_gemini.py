"""Gemini, with the real SDK against the stub."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("google.genai", reason="needs the extra gemini")

from provider_contract import CALLS, CONVERSATION, PNG, SCHEMA, SECRET, WAYS, WEATHER, ProviderContract, call

from adapters.errors import AccessDenied, ContentRefused, MalformedResponse, RateLimited, RequestRejected
from adapters.gemini_wire import Reading
from adapters.types import CompletionRequest, FinishReason, Image, JsonOutput, Message, ToolCall, ToolChoice, Usage
from router.testing import Scenario, Stub

WIRE_CONTENTS = [
    {
        "role": "user",
        "parts": [
            {"text": "What is this, and the weather there?"},
            {"inlineData": {"mime_type": "image/png", "data": PNG.partition(",")[2].replace("+", "-").replace("/", "_")}},
        ],
    },
    {
        "role": "model",
        "parts": [
            {"text": "Let me look."},
            {"functionCall": {"id": "call_a", "name": "weather", "args": {"city": "Zürich", "days": 2}}},
            {"functionCall": {"id": "call_b", "name": "weather", "args": {"city": "Oslo"}}},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "call_a", "name": "weather", "response": {"output": '{"sky": "clear"}'}}},
            {"functionResponse": {"id": "call_b", "name": "weather", "response": {"output": 'rain \u2028 & "wind"'}}},
        ],
    },
    {"role": "user", "parts": [{"text": "And tomorrow? 🦊"}]},
]


class TestGemini(ProviderContract):
    provider = "google"
    speaks = "gemini"
    key_variable = "GEMINI_API_KEY"
    model = "google/gemini-2.0-flash"

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
            json_output=JsonOutput(SCHEMA),
            extra={"top_k": 5, "frequency_penalty": 1, "logprobs": True},
        )
        await adapter.complete(request)
        (received,) = stub.requests
        body = received.body
        assert body["contents"] == WIRE_CONTENTS
        assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert body["generationConfig"] == {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 5.0,
            "maxOutputTokens": 100,
            "stopSequences": ["END"],
            "frequencyPenalty": 1.0,
            "seed": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        }
        (declared,) = body["tools"][0]["functionDeclarations"]
        assert declared == {"name": "weather", "description": "The weather of a city", "parameters_json_schema": dict(WEATHER.parameters)}
        assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}
        assert received.path.endswith("/models/gemini-2.0-flash:generateContent")
        assert received.headers["x-goog-api-key"] == SECRET

    @WAYS
    async def test_signatures_go_out_as_they_came_in(self, adapter: Any, stub: Stub, way: str) -> None:
        signature = b64encode(b"\xfesigned\x00").decode()
        signed = replace(CALLS[0], signature=signature)
        stub.script(self.name, Scenario(text="", tool_calls=(signed,)))
        said = await call(adapter, self.request(tools=(WEATHER,)), way)
        assert said.tool_calls == (signed,)
        stub.script(self.name, Scenario())
        await adapter.complete(self.request(Message("assistant", "", said.tool_calls), Message("tool", "x", tool_call_id="call_a")))
        sent = stub.requests[-1].body["contents"][0]["parts"][0]["thoughtSignature"]
        assert sent.replace("-", "+").replace("_", "/") == signature

    async def test_newer_models_get_a_stand_in_for_calls_that_others_made(self, adapter: Any, stub: Stub) -> None:
        turns = (Message("assistant", "", CALLS), *CONVERSATION[3:5])
        for name, signed in (("gemini-3-pro", [True, False]), ("gemini-2.5-flash", [False, False]), ("gemini-1.5-pro", [False, False])):
            await adapter.complete(CompletionRequest(f"google/{name}", turns))
            assert ["thoughtSignature" in part for part in stub.requests[-1].body["contents"][0]["parts"]] == signed

    async def test_calls_without_ids_get_their_own(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(text="", tool_calls=(ToolCall("", "weather", "{}"), ToolCall("", "weather", "{}"))))
        one, two = (await adapter.complete(self.request(tools=(WEATHER,)))).tool_calls
        three, _ = (await adapter.complete(self.request(tools=(WEATHER,)))).tool_calls
        assert len({one.id, two.id, three.id}) == 3

    async def test_a_linked_picture_stays_a_link(self, adapter: Any, stub: Stub) -> None:
        await adapter.complete(self.request(Message("user", (Image("https://example.org/a.webp?x=1"),))))
        (part,) = stub.requests[0].body["contents"][0]["parts"]
        assert sorted(part["fileData"].values()) == ["https://example.org/a.webp?x=1", "image/webp"]

    async def test_what_it_cannot_be_told_is_rejected_before_it_is_sent(self, adapter: Any, stub: Stub) -> None:
        for message, said in (
            (Message("tool", "x", tool_call_id="nobody"), "names no earlier tool call"),
            (Message("assistant", "", (replace(CALLS[0], arguments="[1]"),)), "JSON object"),
            (Message("user", (Image("data:image/png;base64,A"),)), "base64"),
        ):
            with pytest.raises(RequestRejected, match=said):
                await adapter.complete(self.request(message))
        assert stub.requests == []

    async def test_a_key_that_is_none_and_a_quota_that_says_when(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(status=400, error_message="API key not valid. Please pass a valid API key."))
        with pytest.raises(AccessDenied):
            await adapter.complete(self.request())
        stub.script(self.name, Scenario(status=429))
        with pytest.raises(RateLimited):
            await adapter.complete(self.request())

    @WAYS
    async def test_a_filtered_answer_and_no_answer_are_told_apart(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(finish_reason=FinishReason.CONTENT_FILTER))
        assert (await call(adapter, self.request(), way)).finish_reason is FinishReason.CONTENT_FILTER
        stub.script(self.name, Scenario(status=400, error_message="blocked by our content policy"))
        with pytest.raises(ContentRefused):
            await call(adapter, self.request(), way)

    def test_what_is_billed_without_an_answer_is_told(self) -> None:
        from google.genai import types

        used = types.GenerateContentResponseUsageMetadata(prompt_token_count=70, total_token_count=70)
        blocked = types.GenerateContentResponsePromptFeedback(block_reason=types.BlockedReason.SAFETY)
        with pytest.raises(ContentRefused) as refused:
            list(Reading(self.request()).read(types.GenerateContentResponse(prompt_feedback=blocked, usage_metadata=used)))
        assert refused.value.usage == Usage(70, 0)
        used = types.GenerateContentResponseUsageMetadata(prompt_token_count=70, candidates_token_count=9, total_token_count=79)
        garbled = types.Candidate(finish_reason=types.FinishReason.MALFORMED_FUNCTION_CALL)
        with pytest.raises(MalformedResponse) as unread:
            list(Reading(self.request()).read(types.GenerateContentResponse(candidates=[garbled], usage_metadata=used)))
        assert unread.value.usage == Usage(70, 9)
