"""Anthropic's messages, to the wire and from it; no SDK and no connection."""

import json
from typing import Any

import msgspec
from msgspec import Struct

from adapters.errors import RequestRejected
from adapters.pictures import inline
from adapters.types import (
    Completion,
    CompletionRequest,
    Delta,
    FinishReason,
    Image,
    JsonOutput,
    Message,
    ReasoningDelta,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)

Json = dict[str, Any]
Unreadable = (ValueError, msgspec.MsgspecError)
"""What reading an answer raises where it is not one."""

DEFAULT_LIMIT = 4096
"""Output tokens where the caller sets no limit: Anthropic wants one, and this is the most that every Claude accepts."""
TAKEN = frozenset({"thinking", "top_k", "service_tier", "metadata", "output_config"})
"""Further fields that Anthropic takes by the same name."""

_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


class _OutputDetails(Struct):
    thinking_tokens: int = 0


class TokenCounts(Struct):
    """Anthropic's usage, whole or as far as known: ``input_tokens`` leaves out what the cache read and stored."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(Struct):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Answer(Struct):
    content: list[_Block]
    stop_reason: str | None
    usage: TokenCounts
    id: str | None = None


class _Delta(Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Start(Struct):
    id: str | None = None
    usage: TokenCounts | None = None


class Event(Struct):
    """One event of a stream."""

    type: str
    index: int = 0
    message: _Start | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: TokenCounts | None = None
    error: Any = None


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(Event)


def encode(request: CompletionRequest, *, stream: bool) -> Json:
    """The body of a call.

    Raises ``RequestRejected`` for what Anthropic cannot be told.
    """
    body: Json = {key: value for key, value in request.extra.items() if key in TAKEN}
    if isinstance(user := request.extra.get("user"), str):
        body["metadata"] = {"user_id": user}
    body |= {
        "model": request.name,
        "max_tokens": DEFAULT_LIMIT if request.max_output_tokens is None else request.max_output_tokens,
        "messages": _turns(request),
    }
    if request.json_output is not None and request.json_output.schema is not None:
        body["output_config"] = {**body.get("output_config", {}), **_format(request.json_output)}
    options = {
        "system": _system(request),
        "temperature": None if request.temperature is None else min(request.temperature, 1.0),  # its scale ends where OpenAI's middle is
        "top_p": request.top_p,
        "stop_sequences": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request.tool_choice, request.parallel_tool_calls) if request.tools else None,
    }
    body |= {key: value for key, value in options.items() if value is not None}
    if stream:
        body["stream"] = True
    return body


def decode(body: bytes, request: CompletionRequest, latency_s: float, request_id: str | None = None) -> Completion:
    """The answer in a body.

    Raises ``Unreadable``.
    """
    answer = _answer.decode(body)
    return Completion(
        model=request.model,
        text="".join(block.text for block in answer.content if block.type == "text"),
        usage=read_usage(answer.usage),
        finish_reason=read_reason(answer.stop_reason),
        latency_s=latency_s,
        request_id=request_id or answer.id,
        tool_calls=tuple(_read_call(block) for block in answer.content if block.type == "tool_use"),
        reasoning="".join(block.thinking for block in answer.content if block.type == "thinking"),
    )


def decode_event(data: bytes) -> Event:
    """One event of a stream.

    Raises ``Unreadable``.
    """
    return _event.decode(data)


def delta_of(event: Event) -> Delta | None:
    """The piece of the answer in an event, if there is one."""
    if (block := event.content_block) is not None and event.type == "content_block_start":
        if block.type == "tool_use":
            return ToolCallDelta(event.index, id=block.id, name=block.name)
        return TextDelta(block.text) if block.text else None
    if event.delta is None or event.type != "content_block_delta":
        return None
    match event.delta.type:
        case "text_delta":
            return TextDelta(event.delta.text)
        case "thinking_delta":
            return ReasoningDelta(event.delta.thinking)
        case "input_json_delta":
            return ToolCallDelta(event.index, event.delta.partial_json) if event.delta.partial_json else None
    return None


def merged(known: TokenCounts, later: TokenCounts | None) -> TokenCounts:
    """Usage is told at a stream's start and again at its end; what is told later holds."""
    if later is None:
        return known
    names = TokenCounts.__struct_fields__
    return TokenCounts(**{name: getattr(known, name) if getattr(later, name) is None else getattr(later, name) for name in names})


def read_usage(counts: TokenCounts) -> Usage | None:
    """Tokens as billed."""
    if counts.input_tokens is None or counts.output_tokens is None:
        return None
    read, stored = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    return Usage(
        input_tokens=counts.input_tokens + read + stored,
        output_tokens=counts.output_tokens,
        cached_input_tokens=read,
        reasoning_tokens=counts.output_tokens_details.thinking_tokens if counts.output_tokens_details else 0,
        cache_write_tokens=stored,
    )


def read_reason(said: str | None) -> FinishReason:
    """Why the answer ended."""
    return _REASONS.get(said or "", FinishReason.STOP)


def error_of(event: Event) -> object:
    """The error in an event, as ``refusals.refused`` reads it; None where there is none."""
    return None if event.error is None else {"error": event.error}


def _system(request: CompletionRequest) -> str | None:
    said = [message.text for message in request.messages if message.role in ("system", "developer")]
    if request.json_output is not None and request.json_output.schema is None:
        said.append("Answer with one JSON object and nothing else.")  # Anthropic constrains output only where it has a schema
    return "\n\n".join(said) or None


def _turns(request: CompletionRequest) -> list[Json]:
    """The conversation: results of tools open the user's next turn, as Anthropic wants them."""
    turns: list[Json] = []
    for message in request.messages:
        if message.role in ("system", "developer"):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, request.model)
        if role == "user" and turns and turns[-1]["role"] == "user" and turns[-1]["content"][-1]["type"] == "tool_result":
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, model: str) -> list[Json]:
    parts = (Text(message.content),) if isinstance(message.content, str) else message.content
    written = [_part(part, model) for part in parts if not (isinstance(part, Text) and not part.text)]
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": written}]
    return written + [_call(call, model) for call in message.tool_calls]


def _part(part: Text | Image, model: str) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    data = inline(part, model)
    if data is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}


def _call(call: ToolCall, model: str) -> Json:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise RequestRejected("the arguments of an earlier tool call are not a JSON object, which Anthropic requires", model=model)
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _tool(tool: Tool) -> Json:
    wire: Json = {"name": tool.name, "input_schema": dict(tool.parameters) or {"type": "object", "properties": {}}}
    if tool.description:
        wire["description"] = tool.description
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return wire


def _choice(choice: ToolChoice | None, parallel: bool | None) -> Json | None:
    if choice is None and parallel is None:
        return None
    mode = "auto" if choice is None else choice.mode
    wire: Json = {"type": "tool", "name": choice.name} if choice is not None and mode == "tool" else {"type": _CHOICES.get(mode, "auto")}
    if parallel is not None and wire["type"] != "none":
        wire["disable_parallel_tool_use"] = not parallel
    return wire


def _format(output: JsonOutput) -> Json:
    return {"format": {"type": "json_schema", "schema": dict(output.schema or {})}}


def _read_call(block: _Block) -> ToolCall:
    return ToolCall(block.id, block.name, bytes(block.input).decode())
