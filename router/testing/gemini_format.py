"""Gemini's contents, from the provider's side."""

import json
from typing import Any

from adapters.types import FinishReason, Image, Message, Text, ToolCall
from router.testing.scenarios import Answer, Asked, Frame

Json = dict[str, Any]
_REASONS = {
    FinishReason.STOP: "STOP",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.CONTENT_FILTER: "SAFETY",
}
_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def read(body: Json, model: str, *, stream: bool) -> Asked:
    """What a request asks."""
    system = body.get("systemInstruction")
    said = [Message("system", "".join(part["text"] for part in system["parts"]))] if system else []
    declared = [function for tool in body.get("tools", []) for function in tool.get("functionDeclarations", [])]
    return Asked(
        model=model,
        messages=(*said, *(message for turn in body.get("contents", []) for message in _messages(turn))),
        stream=stream,
        max_output_tokens=body.get("generationConfig", {}).get("maxOutputTokens"),
        tools=tuple(function["name"] for function in declared),
    )


def whole(answer: Answer) -> Json:
    """An answer in one piece."""
    thought = [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []
    written = [{"text": answer.text}] if answer.text else []
    return _answer(answer, [*thought, *written, *(_call(call) for call in answer.tool_calls)], ended=True)


def frames(answer: Answer) -> list[Frame]:
    """An answer as a stream; the last piece carries the reason and the counts."""
    parts: list[Json] = [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []
    parts += [{"text": chunk} for chunk in answer.chunks]
    parts += [_call(call) for call in answer.tool_calls]
    return [_frame(_answer(answer, [part], ended=False), content=True) for part in parts] + [
        _frame(_answer(answer, [{"text": ""}], ended=True))
    ]


def array_frames(answer: Answer) -> list[Frame]:
    """The same as one JSON array, written piece by piece, which Google sends to those who do not ask for events."""
    made = [Frame(frame.data.removeprefix(b"data: ").strip(), frame.content) for frame in frames(answer)]
    return [Frame((b"[" if i == 0 else b",\r\n") + frame.data, frame.content) for i, frame in enumerate(made)] + [Frame(b"]")]


def error(status: int, code: str | None, message: str) -> Json:
    """An error's body."""
    return {"error": {"code": status, "message": message, "status": code or _NAMES.get(status, "UNKNOWN")}}


def error_frame(message: str) -> Frame:
    """An error inside a stream."""
    return _frame(error(503, None, message))


def _messages(turn: Json) -> list[Message]:
    role = "assistant" if turn.get("role") == "model" else "user"
    results: list[Message] = []
    written: list[Text | Image] = []
    calls: list[ToolCall] = []
    for part in turn["parts"]:
        if call := part.get("functionCall"):
            calls.append(ToolCall(call.get("id", ""), call["name"], json.dumps(call["args"]), part.get("thoughtSignature")))
        elif result := part.get("functionResponse"):
            results.append(Message("tool", result["response"]["output"], tool_call_id=result.get("id")))
        elif data := part.get("inlineData"):
            written.append(Image(f"data:{data.get('mimeType', data.get('mime_type'))};base64,{_standard(data['data'])}"))
        elif data := part.get("fileData"):
            written.append(Image(data.get("fileUri", data.get("file_uri"))))
        else:
            written.append(Text(part["text"]))
    content = written[0].text if len(written) == 1 and isinstance(written[0], Text) else tuple(written) or ""
    return [*results, Message(role, content, tuple(calls))] if written or calls else results


def _standard(data: str) -> str:
    """Google takes both alphabets of base64."""
    return data.replace("-", "+").replace("_", "/")


def _call(call: ToolCall) -> Json:
    part: Json = {"functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}}
    return part if call.signature is None else part | {"thoughtSignature": call.signature}


def _answer(answer: Answer, parts: list[Json], *, ended: bool) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
    counts: Json = {"promptTokenCount": answer.input_tokens}
    if answer.cached_input_tokens:
        counts["cachedContentTokenCount"] = answer.cached_input_tokens
    if ended:
        candidate["finishReason"] = _REASONS[answer.finish_reason]
        counts["candidatesTokenCount"] = answer.output_tokens - answer.reasoning_tokens
        counts["totalTokenCount"] = answer.input_tokens + answer.output_tokens
        if answer.reasoning_tokens:
            counts["thoughtsTokenCount"] = answer.reasoning_tokens
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": answer.model, "responseId": answer.id}


def _frame(value: Json, *, content: bool = False) -> Frame:
    return Frame(b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n\r\n", content)
