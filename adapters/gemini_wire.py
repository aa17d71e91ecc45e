"""Gemini's contents, as both of Google's SDKs take them, and their answers, as both show them; no SDK and no connection."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

from adapters.assembly import Assembly
from adapters.errors import AdapterError, ContentRefused, RequestRejected
from adapters.pictures import inline, media_type
from adapters.refusals import cut_off, unreadable
from adapters.types import (
    Completion,
    CompletionRequest,
    Delta,
    FinishReason,
    Image,
    Message,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)

Json = dict[str, Any]

_REASONS = {"STOP": FinishReason.STOP, "MAX_TOKENS": FinishReason.LENGTH} | dict.fromkeys(
    ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT"),
    FinishReason.CONTENT_FILTER,
)
_BROKEN_CALLS = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE", "tool": "ANY"}
_UNSIGNED = re.compile(r"(models/)?gemini-(1|2|pro)\b")
_STAND_IN = b"skip_thought_signature_validator"
"""Google's documented stand-in where a call was not made by a Gemini that signs: newer ones refuse unsigned calls."""


def contents(request: CompletionRequest) -> list[Json]:
    """The conversation; results of tools that ran together are one turn.

    Raises ``RequestRejected`` for what Gemini cannot be told.
    """
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    turns: list[Json] = []
    for message in request.messages:
        if message.role in ("system", "developer"):
            continue
        if message.role == "tool":
            parts = [_result(message, names, request.model), *(_part(image, request.model) for image in message.images)]
        else:
            parts = _parts(message, request)
        role = "model" if message.role == "assistant" else "user"
        if message.role == "tool" and turns and turns[-1]["role"] == "user" and "function_response" in turns[-1]["parts"][0]:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def system(request: CompletionRequest) -> str | None:
    """What the system says."""
    return "\n\n".join(message.text for message in request.messages if message.role in ("system", "developer")) or None


def tool_mode(choice: ToolChoice) -> Json:
    """Which tools may or must be called."""
    wire: Json = {"mode": _MODES.get(choice.mode, "AUTO")}
    if choice.mode == "tool" and choice.name is not None:
        wire["allowed_function_names"] = [choice.name]
    return wire


class Reading:
    """Reads one answer, chunk by chunk; a whole answer is one chunk."""

    def __init__(self, request: CompletionRequest) -> None:
        self._model = request.model
        self._whole = Assembly(request.model)
        self._calls = 0
        self._reason: str | None = None
        self._usage: Usage | None = None
        self.begun = False
        """A part of the answer has come."""
        self._id: str | None = None

    def read(self, chunk: Any) -> Iterator[Delta]:
        """The pieces in a chunk.

        Raises ``ContentRefused`` where the prompt is blocked, ``MalformedResponse`` where the model's tool call is not one.
        """
        self._id = getattr(chunk, "response_id", None) or self._id
        if metadata := getattr(chunk, "usage_metadata", None):
            self._usage = _usage(metadata)
        feedback = getattr(chunk, "prompt_feedback", None)
        if feedback and getattr(feedback, "block_reason", None):
            told = "the provider's safety rules stopped the request"
            raise ContentRefused(told, model=self._model, request_id=self._id, usage=self._usage)
        for candidate in list(chunk.candidates or ())[:1]:
            self.begun = True
            if candidate.finish_reason:
                self._reason = candidate.finish_reason.name
            for part in (candidate.content.parts if candidate.content else None) or ():
                if (delta := self._delta(part)) is not None:
                    yield self._whole.add(delta)
        if self._reason in _BROKEN_CALLS:
            raise unreadable(self._model, "the model's tool call is not one", self._id, self._usage)

    def whole(self) -> Completion:
        """The answer, once its last chunk is in.

        Raises ``MalformedResponse`` where there was none, ``ProviderDown`` where it broke off.
        """
        if self._reason is None:
            raise self._nothing()
        reason = _REASONS.get(self._reason, FinishReason.STOP)
        if reason is FinishReason.STOP and self._calls:
            reason = FinishReason.TOOL_CALLS
        return self._whole.whole(reason, self._usage, request_id=self._id)

    def _nothing(self) -> AdapterError:
        return cut_off(self._model, self._id) if self.begun else unreadable(self._model, "no candidates", self._id, self._usage)

    def _delta(self, part: Any) -> Delta | None:
        if part.function_call:
            call, index = part.function_call, self._calls
            self._calls += 1
            signature = getattr(part, "thought_signature", None)
            return ToolCallDelta(
                index,
                json.dumps(plain(call.args), ensure_ascii=False, separators=(",", ":")),
                getattr(call, "id", None) or f"call_{self._id or ''}_{index}",
                call.name,
                b64encode(signature).decode() if signature else None,
            )
        if not part.text:
            return None
        return ReasoningDelta(part.text) if getattr(part, "thought", None) else TextDelta(part.text)


def plain(value: Any) -> Any:
    """A tool call's arguments as JSON values; protobuf knows no whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str | float | int | None):
        return value
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def _usage(metadata: Any) -> Usage:
    read, made = metadata.prompt_token_count or 0, metadata.candidates_token_count or 0
    if hasattr(metadata, "thoughts_token_count"):
        thought = metadata.thoughts_token_count or 0
    else:
        thought = max((metadata.total_token_count or 0) - read - made, 0)  # the old SDK knows them from the total only
    return Usage(
        input_tokens=read + (getattr(metadata, "tool_use_prompt_token_count", None) or 0),
        output_tokens=made + thought,
        cached_input_tokens=metadata.cached_content_token_count or 0,
        reasoning_tokens=thought,
    )


def _parts(message: Message, request: CompletionRequest) -> list[Json]:
    parts = (Text(message.content),) if isinstance(message.content, str) else message.content
    written = [_part(part, request.model) for part in parts if not (isinstance(part, Text) and not part.text)]
    return written + [_call(call, request, first=index == 0) for index, call in enumerate(message.tool_calls)]


def _part(part: Text | Image, model: str) -> Json:
    if isinstance(part, Text):
        return {"text": part.text}
    data = inline(part, model)
    if data is None:
        return {"file_data": {"file_uri": part.url, "mime_type": media_type(part)}}
    try:
        return {"inline_data": {"mime_type": data[0], "data": b64decode(data[1])}}
    except ValueError:
        raise RequestRejected("an image's data URL is not valid base64", model=model) from None


def _call(call: ToolCall, request: CompletionRequest, *, first: bool) -> Json:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise RequestRejected("the arguments of an earlier tool call are not a JSON object, which Gemini requires", model=request.model)
    part: Json = {"function_call": {"id": call.id, "name": call.name, "args": arguments}}
    if call.signature is not None:
        part["thought_signature"] = b64decode(call.signature)
    elif first and not _UNSIGNED.match(request.name):
        part["thought_signature"] = _STAND_IN
    return part


def _result(message: Message, names: dict[str, str], model: str) -> Json:
    name = names.get(message.tool_call_id or "")
    if name is None:
        raise RequestRejected("a tool's result names no earlier tool call, so Gemini cannot be told which tool ran", model=model)
    return {"function_response": {"id": message.tool_call_id, "name": name, "response": {"output": message.text}}}
