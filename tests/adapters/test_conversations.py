"""A conversation keeps its meaning through every wire format: what the provider understands is what was said."""

import json
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_contract import CALLS, CONVERSATION

from adapters import anthropic_wire, gemini_wire, openai_wire
from adapters.endpoints import OPENAI
from adapters.types import CompletionRequest, Image, Message, Text, ToolCall
from router.testing import anthropic_format, gemini_format, openai_format
from router.testing.scenarios import Asked, Scenario, answer


def by_openai(request: CompletionRequest) -> tuple[Message, ...]:
    return openai_format.read(json.loads(json.dumps(openai_wire.encode(request, OPENAI, stream=False)))).messages


def by_anthropic(request: CompletionRequest) -> tuple[Message, ...]:
    return anthropic_format.read(json.loads(json.dumps(anthropic_wire.encode(request, stream=False)))).messages


def by_gemini(request: CompletionRequest) -> tuple[Message, ...]:
    """As the SDK writes it: camel case, and bytes as base64."""
    names = {"function_call": "functionCall", "function_response": "functionResponse", "inline_data": "inlineData", "file_data": "fileData"}
    turns = [
        {"role": turn["role"], "parts": [{names.get(key, key): value for key, value in part.items()} for part in turn["parts"]]}
        for turn in gemini_wire.contents(request)
    ]
    system = gemini_wire.system(request)
    body: dict[str, object] = {"contents": json.loads(json.dumps(turns, default=_base64))}
    if system is not None:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    return gemini_format.read(body, request.name, stream=False).messages


def _base64(data: object) -> str:
    assert isinstance(data, bytes)
    return b64encode(data).decode()


def meaning(messages: tuple[Message, ...]) -> list[object]:
    """Roles, texts and pictures in order, arguments as values: formats differ in white space, and in what is one turn."""
    said: list[object] = []
    for message in messages:
        parts = (Text(message.content),) if isinstance(message.content, str) else message.content
        kept = [part for part in parts if part != Text("")]
        if message.role == "tool" or kept:
            said.append((message.role, message.tool_call_id, kept))
        said += [("call", call.id, call.name, json.loads(call.arguments)) for call in message.tool_calls]
    return said


WIRES = pytest.mark.parametrize("through", [by_openai, by_anthropic, by_gemini])


@WIRES
def test_a_picture_and_tools_keep_their_meaning(through: object) -> None:
    request = CompletionRequest("acme/gemini-2.5-x", CONVERSATION)
    assert meaning(through(request)) == meaning(CONVERSATION)  # type: ignore[operator]


@pytest.mark.parametrize("through", [by_openai, by_anthropic])
def test_a_tool_may_answer_with_a_picture(through: object) -> None:
    picture = Message("tool", (Text("seen"), Image("data:image/png;base64,AAAA")), tool_call_id="call_a")
    turns = (Message("user", "look"), Message("assistant", "", CALLS[:1]), picture)
    assert meaning(through(CompletionRequest("acme/x", turns))) == meaning(turns)  # type: ignore[operator]


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
calls = st.builds(
    lambda number, arguments: ToolCall(f"call_{number}", "tool_x", json.dumps(arguments)),
    st.integers(0, 10**9),
    st.dictionaries(texts, values, max_size=3),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    turns: list[Message] = [Message("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        picture = Image("data:image/png;base64," + draw(st.sampled_from(["AAAA", "+/+/", "iVBORw0KGgo="])))
        turns.append(Message("user", (Text(draw(texts)), picture) if draw(st.booleans()) else draw(texts)))
        made = draw(st.lists(calls, max_size=3, unique_by=lambda call: call.id))
        turns.append(Message("assistant", draw(texts), tuple(made)))
        turns += [Message("tool", draw(texts), tool_call_id=call.id) for call in made]
    return tuple(turns)


@WIRES
@settings(max_examples=60, deadline=None)
@given(turns=conversations())
def test_any_conversation_keeps_its_meaning(through: object, turns: tuple[Message, ...]) -> None:
    assert meaning(through(CompletionRequest("acme/gemini-2.5-x", turns))) == meaning(turns)  # type: ignore[operator]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_answers_keep_their_bytes(provider: str) -> None:
    said = answer(Scenario(text='rain \u2028 & "wind" 🦊\r\n', tool_calls=CALLS, reasoning="so\u2029so"), Asked("x", ()), 1)
    request = CompletionRequest("acme/x", ())
    if provider == "openai":
        found = openai_wire.decode(json.dumps(openai_format.whole(said)).encode(), request, OPENAI, 0.1)
    else:
        found = anthropic_wire.decode(json.dumps(anthropic_format.whole(said)).encode(), request, 0.1)
    assert (found.text, found.reasoning) == (said.text, said.reasoning)
    assert [replace(call, arguments=json.loads(call.arguments)) for call in found.tool_calls] == [
        replace(call, arguments=json.loads(call.arguments)) for call in CALLS
    ]
