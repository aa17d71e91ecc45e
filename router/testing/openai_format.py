"""OpenAI's chat completions, from the provider's side."""

import json
from typing import Any

from adapters.types import FinishReason, Image, Message, Text, ToolCall
from router.testing.scenarios import Answer, Asked, Frame

Json = dict[str, Any]
CREATED = 1_764_000_000
_NAMES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_quota"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def read(body: Json) -> Asked:
    """What a request asks."""
    return Asked(
        model=str(body.get("model", "")),
        messages=tuple(_message(message) for message in body.get("messages", [])),
        stream=bool(body.get("stream")),
        max_output_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools", [])),
    )


def whole(answer: Answer) -> Json:
    """An answer in one piece."""
    message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [_call(call) for call in answer.tool_calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason.value}
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": CREATED,
        "model": answer.model,
        "choices": [choice],
        "usage": _usage(answer),
    }


def frames(answer: Answer) -> list[Frame]:
    """An answer as a stream."""
    made = [_frame(answer, {"role": "assistant", "content": ""})]
    if answer.reasoning:
        made.append(_frame(answer, {"reasoning_content": answer.reasoning}, content=True))
    made += [_frame(answer, {"content": chunk}, content=True) for chunk in answer.chunks]
    for index, call in enumerate(answer.tool_calls):
        made.append(_frame(answer, {"tool_calls": [{"index": index, **_call(call), "function": {"name": call.name, "arguments": ""}}]}))
        middle = len(call.arguments) // 2
        for part in (call.arguments[:middle], call.arguments[middle:]):
            made.append(_frame(answer, {"tool_calls": [{"index": index, "function": {"arguments": part}}]}, content=True))
    made.append(_frame(answer, {}, finish=answer.finish_reason))
    if answer.include_usage:
        made.append(_event({**_chunk(answer), "choices": [], "usage": _usage(answer)}))
    return [*made, Frame(b"data: [DONE]\n\n")]


def error(status: int, code: str | None, message: str) -> Json:
    """An error's body."""
    kind, usual = _NAMES.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code or usual}}


def error_frame(message: str) -> Frame:
    """An error inside a stream."""
    return _event({"error": {"message": message, "type": "server_error", "code": None}})


def _message(wire: Json) -> Message:
    content = wire.get("content") or ""
    if isinstance(content, list):
        content = tuple(
            Text(part["text"]) if part["type"] == "text" else Image(part["image_url"]["url"], part["image_url"].get("detail"))
            for part in content
        )
    calls = tuple(ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in wire.get("tool_calls") or ())
    return Message(wire["role"], content, calls, wire.get("tool_call_id"))


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(answer: Answer) -> Json:
    usage: Json = {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }
    return usage if answer.cost_usd is None else usage | {"estimated_cost": answer.cost_usd}


def _chunk(answer: Answer) -> Json:
    return {"id": answer.id, "object": "chat.completion.chunk", "created": CREATED, "model": answer.model}


def _frame(answer: Answer, delta: Json, *, finish: FinishReason | None = None, content: bool = False) -> Frame:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if finish is None else finish.value}
    return _event({**_chunk(answer), "choices": [choice]}, content=content)


def _event(value: Json, *, content: bool = False) -> Frame:
    return Frame(b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n", content)
