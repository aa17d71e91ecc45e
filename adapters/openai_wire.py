"""OpenAI's chat completions, to the wire and from it; no SDK and no connection."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from adapters.endpoints import Endpoint
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

_OURS = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""Fields that only the adapter decides."""
_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class _Details(Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    estimated_cost: float | None = None
    cost: float | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)
    extra_content: Json | None = None


class _Part(Struct):
    text: str | None = None


class _Said(Struct):
    """A message, or the next piece of one."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    message: _Said
    finish_reason: str | None = None


class _Answer(Struct):
    choices: list[_Choice]
    id: str | None = None
    usage: _Usage | None = None


class _ChunkChoice(Struct):
    delta: _Said = msgspec.field(default_factory=_Said)
    finish_reason: str | None = None


class Chunk(Struct):
    """One event of a stream."""

    choices: list[_ChunkChoice] = msgspec.field(default_factory=list)
    id: str | None = None
    usage: _Usage | None = None
    error: Any = None


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(Chunk)


def encode(request: CompletionRequest, endpoint: Endpoint, *, stream: bool) -> Json:
    """The body of a call."""
    body: Json = {key: value for key, value in request.extra.items() if key not in endpoint.not_taken and key not in _OURS}
    body |= {"model": request.name, "messages": [_message(message) for message in request.messages]}
    options = {
        endpoint.limit_field: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": _format(request.json_output),
    }
    body |= {key: value for key, value in options.items() if value is not None and key not in endpoint.not_taken}
    if stream:
        body["stream"] = True
        if endpoint.reports_stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def decode(body: bytes, request: CompletionRequest, endpoint: Endpoint, latency_s: float, request_id: str | None = None) -> Completion:
    """The answer in a body.

    Raises ``Unreadable``.
    """
    answer = _answer.decode(body)
    if not answer.choices:
        raise ValueError("no choices")
    choice = answer.choices[0]
    said = choice.message
    usage, cost = read_usage(answer.usage, endpoint)
    return Completion(
        model=request.model,
        text=_text(said.content) or said.refusal or "",
        usage=usage,
        finish_reason=FinishReason.CONTENT_FILTER if said.refusal else read_reason(choice.finish_reason),
        latency_s=latency_s,
        request_id=request_id or answer.id,
        cost_usd=cost,
        tool_calls=tuple(_read_call(call, index) for index, call in enumerate(said.tool_calls or ())),
        reasoning=said.reasoning_content or said.reasoning or "",
        body=body,
    )


def decode_chunk(data: bytes) -> Chunk:
    """One event of a stream.

    Raises ``Unreadable``.
    """
    return _chunk.decode(data)


def deltas(chunk: Chunk) -> Iterator[Delta]:
    """The pieces of the answer in one event."""
    for choice in chunk.choices[:1]:
        said = choice.delta
        if thought := said.reasoning_content or said.reasoning:
            yield ReasoningDelta(thought)
        if text := _text(said.content) or said.refusal:
            yield TextDelta(text)
        for position, call in enumerate(said.tool_calls or ()):
            index = position if call.index is None else call.index
            yield ToolCallDelta(index, call.function.arguments or "", call.id or None, call.function.name or None, _signature(call))


def read_usage(usage: _Usage | None, endpoint: Endpoint) -> tuple[Usage | None, float | None]:
    """Tokens, and what the provider says the call cost."""
    if usage is None:
        return None, None
    read, made = usage.prompt_tokens_details or _Details(), usage.completion_tokens_details or _Details()
    cost = {"estimated_cost": usage.estimated_cost, "cost": usage.cost}.get(endpoint.cost_field or "")
    return (
        Usage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached_input_tokens=read.cached_tokens or 0,
            reasoning_tokens=made.reasoning_tokens or 0,
            cache_write_tokens=read.cache_write_tokens or 0,
        ),
        cost,
    )


def read_reason(said: str | None) -> FinishReason:
    """Why the answer ended; words that only one provider uses count as an ordinary end."""
    return _REASONS.get(said or "", FinishReason.STOP)


def error_of(chunk: Chunk) -> object:
    """The error in an event, as ``refusals.refused`` reads it; None where there is none."""
    return None if chunk.error is None else {"error": chunk.error}


def _message(message: Message) -> Json:
    wire: Json = {"role": message.role}
    if isinstance(message.content, str):
        wire["content"] = message.content if message.content or not message.tool_calls else None
    else:
        wire["content"] = [_part(part) for part in message.content]
    if message.tool_calls:
        wire["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _part(part: Text | Image) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    picture = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
    return {"type": "image_url", "image_url": picture}


def _call(call: ToolCall) -> Json:
    wire: Json = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    if call.signature is not None:
        wire["extra_content"] = {"google": {"thought_signature": call.signature}}
    return wire


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = dict(tool.parameters)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> Any:
    if choice is None or choice.mode != "tool":
        return None if choice is None else choice.mode
    return {"type": "function", "function": {"name": choice.name}}


def _format(output: JsonOutput | None) -> Json | None:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    named: Json = {"name": output.name, "schema": dict(output.schema)}
    if output.strict is not None:
        named["strict"] = output.strict
    return {"type": "json_schema", "json_schema": named}


def _text(content: str | list[_Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text or "" for part in content)


def _read_call(call: _Call, index: int) -> ToolCall:
    if not call.function.name:
        raise ValueError("a tool call without a name")
    return ToolCall(call.id or f"call_{index}", call.function.name, call.function.arguments or "{}", _signature(call))


def _signature(call: _Call) -> str | None:
    google = (call.extra_content or {}).get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None
