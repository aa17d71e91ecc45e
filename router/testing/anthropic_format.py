"""Anthropic's messages, from the provider's side."""

import json
from typing import Any

from adapters.types import FinishReason, Image, Message, Text, ToolCall
from router.testing.scenarios import Answer, Asked, Frame

Json = dict[str, Any]
_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
_NAMES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read(body: Json) -> Asked:
    """What a request asks."""
    system = body.get("system")
    said = [Message("system", system if isinstance(system, str) else "\n\n".join(block["text"] for block in system))] if system else []
    return Asked(
        model=str(body.get("model", "")),
        messages=(*said, *(message for turn in body.get("messages", []) for message in _messages(turn))),
        stream=bool(body.get("stream")),
        max_output_tokens=body.get("max_tokens"),
        tools=tuple(tool["name"] for tool in body.get("tools", [])),
    )


def whole(answer: Answer) -> Json:
    """An answer in one piece."""
    blocks: list[Json] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": "stub"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)} for call in answer.tool_calls]
    return _message(answer, blocks, _REASONS[answer.finish_reason], answer.output_tokens)


def frames(answer: Answer) -> list[Frame]:
    """An answer as a stream."""
    made = [_event("message_start", message=_message(answer, [], None, 1)), _event("ping")]
    index = 0
    if answer.reasoning:
        made += _block(index, {"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": answer.reasoning}])
        index += 1
    if answer.chunks:
        made += _block(index, {"type": "text", "text": ""}, [{"type": "text_delta", "text": chunk} for chunk in answer.chunks])
        index += 1
    for call in answer.tool_calls:
        middle = len(call.arguments) // 2
        parts = ("", call.arguments[:middle], call.arguments[middle:])
        begin = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        made += _block(index, begin, [{"type": "input_json_delta", "partial_json": part} for part in parts])
        index += 1
    ended = {"stop_reason": _REASONS[answer.finish_reason], "stop_sequence": None}
    counts = {"output_tokens": answer.output_tokens, "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens}}
    return [*made, _event("message_delta", delta=ended, usage=counts), _event("message_stop")]


def error(status: int, code: str | None, message: str) -> Json:
    """An error's body."""
    return {"type": "error", "error": {"type": code or _NAMES.get(status, "api_error"), "message": message}, "request_id": "req_stub"}


def error_frame(message: str) -> Frame:
    """An error inside a stream."""
    return _event("error", error={"type": "overloaded_error", "message": message})


def _messages(turn: Json) -> list[Message]:
    if isinstance(turn["content"], str):
        return [Message(turn["role"], turn["content"])]
    found: list[Message] = []
    written: list[Text | Image] = []
    calls: list[ToolCall] = []
    for block in turn["content"]:
        match block["type"]:
            case "tool_result":
                given = [{"type": "text", "text": block["content"]}] if isinstance(block["content"], str) else block["content"]
                inner = [_part(part) for part in given]
                found.append(Message("tool", _plain(inner), tool_call_id=block["tool_use_id"]))
            case "tool_use":
                calls.append(ToolCall(block["id"], block["name"], json.dumps(block["input"])))
            case _:
                written.append(_part(block))
    return [*found, Message(turn["role"], _plain(written), tuple(calls))] if written or calls else found


def _part(block: Json) -> Text | Image:
    if block["type"] == "text":
        return Text(block["text"])
    source = block["source"]
    return Image(source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}")


def _plain(parts: list[Text | Image]) -> str | tuple[Text | Image, ...]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return tuple(parts) if parts else ""


def _message(answer: Answer, blocks: list[Json], reason: str | None, output_tokens: int) -> Json:
    counts: Json = {
        "input_tokens": answer.input_tokens - answer.cached_input_tokens - answer.cache_write_tokens,
        "cache_creation_input_tokens": answer.cache_write_tokens,
        "cache_read_input_tokens": answer.cached_input_tokens,
        "output_tokens": output_tokens,
    }
    if reason is not None:
        counts["output_tokens_details"] = {"thinking_tokens": answer.reasoning_tokens}
    facts = {"id": answer.id, "type": "message", "role": "assistant", "model": answer.model}
    return {**facts, "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": counts}


def _block(index: int, begin: Json, deltas: list[Json]) -> list[Frame]:
    pieces = [_event("content_block_delta", content=True, index=index, delta=delta) for delta in deltas]
    return [_event("content_block_start", index=index, content_block=begin), *pieces, _event("content_block_stop", index=index)]


def _event(kind: str, *, content: bool = False, **facts: Any) -> Frame:
    data = json.dumps({"type": kind, **facts}, ensure_ascii=False, separators=(",", ":"))
    return Frame(f"event: {kind}\ndata: {data}\n\n".encode(), content)
