"""Chat requests in OpenAI's shape: what they may hold, and the call that they ask for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from adapters import types
from router.api.refusals import refuse
from router.api.schemas import MAX_TOKENS, Body, Constraints, Id, Line, Name, Part, Preset, Tokens, Weights
from router.api.tasks import read_messages, task_of, tokens_of
from router.domain import tasks
from router.domain.models import Capability
from router.domain.tasks import NAME, Speed
from router.services.calls import Call

_SEEN = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)
_MODEL = rf"^(auto(:{NAME})?|[a-z0-9][a-z0-9_-]*/[!-~]+)$"
_CHARACTERS_PER_TOKEN = 4
"""Of a tool's JSON schema."""


def _shape(value: Any) -> str:
    return "shape:preset" if isinstance(value, str) else "shape:object"


class RouterOptions(Body):
    """What to choose by; as in ``/v1/route``."""

    task_type: Name | None = None
    expected_output_tokens: Tokens | None = None
    speed: Speed | None = None
    constraints: Constraints = Field(default_factory=Constraints)
    weights: Annotated[Annotated[Weights, Tag("shape:object")] | Annotated[Preset, Tag("shape:preset")], Discriminator(_shape)] | None = (
        None
    )
    policy: Name | None = None
    explore: bool = True
    allow_fallback: bool | None = Field(
        default=None,
        description="Another model may answer where the chosen one fails or none is eligible. True for auto, false for a named model.",
    )
    episode_id: Id | None = None
    tags: Annotated[dict[Name, Line], Field(max_length=16)] = Field(default_factory=dict)


class _Url(BaseModel):
    model_config = _SEEN
    url: Annotated[str, StringConstraints(min_length=1)]
    detail: Annotated[str, StringConstraints(max_length=16)] | None = None


class ChatPart(Part):
    """Text or a picture."""

    image_url: _Url | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.type == "image_url" and self.image_url is None:
            raise refuse("image_url", "image_url is missing", 'send {"type": "image_url", "image_url": {"url": ...}}')
        if self.type not in {"text", "image_url", "refusal"}:
            raise refuse("type", "this kind of part is not passed on", "send text and image_url parts")
        return self


class _Function(BaseModel):
    model_config = _SEEN
    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    arguments: str = "{}"


class _ToolCall(BaseModel):
    model_config = _SEEN
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    function: _Function
    extra_content: dict[str, Any] | None = None


def _content(value: Any) -> str:
    return "shape:text" if isinstance(value, str) else "shape:null" if value is None else "shape:parts"


class ChatMessage(BaseModel):
    """One turn."""

    model_config = _SEEN
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        Annotated[str, Tag("shape:text")] | Annotated[list[ChatPart], Tag("shape:parts")] | Annotated[None, Tag("shape:null")],
        Discriminator(_content),
    ] = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: Annotated[str, StringConstraints(max_length=256)] | None = None


class _Declared(BaseModel):
    model_config = _SEEN
    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(BaseModel):
    model_config = _SEEN
    type: Literal["function"]
    function: _Declared


class _Named(BaseModel):
    model_config = _SEEN
    name: str


class _Chosen(BaseModel):
    model_config = _SEEN
    type: Literal["function"]
    function: _Named


class _Schema(BaseModel):
    model_config = _SEEN
    name: str = "answer"
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class _Format(BaseModel):
    model_config = _SEEN
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(BaseModel):
    model_config = _SEEN
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """OpenAI's chat completions with a ``router`` object. Fields that are not listed go to the provider where it takes them."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    model: Annotated[str, StringConstraints(pattern=_MODEL, max_length=200)] = Field(
        default="auto", description="auto, auto:TASK_TYPE, or provider/model."
    )
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Literal[1] | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Chosen | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    router: RouterOptions = Field(default_factory=RouterOptions)  # as a default it would be copied deeply


def to_call(chat: ChatRequest, default: tasks.Weights, key_id: str | None, trace: Mapping[str, str]) -> Call:
    """The call that a request asks for."""
    named = None if chat.model == "auto" or chat.model.startswith("auto:") else chat.model
    options = chat.router
    may_switch = named is None if options.allow_fallback is None else options.allow_fallback
    limit = chat.max_completion_tokens or chat.max_tokens
    texts, media = read_messages(chat.messages)
    task = task_of(
        options,
        default,
        chat.model[5:] or None if chat.model.startswith("auto:") else options.task_type,
        texts,
        media,
        context_tokens=tokens_of(texts, media, len(chat.messages)) + _tool_tokens(chat),
        max_output_tokens=limit,
        needs=_needs(chat),
        allow_fallback=may_switch,
    )
    choice = chat.tool_choice
    request = types.CompletionRequest(
        model="",
        messages=tuple(_message(message) for message in chat.messages),
        max_output_tokens=limit,
        temperature=chat.temperature,
        top_p=chat.top_p,
        seed=chat.seed,
        stop=() if chat.stop is None else (chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop),
        tools=tuple(_tool(tool.function) for tool in chat.tools or ()),
        tool_choice=types.ToolChoice("tool", choice.function.name) if isinstance(choice, _Chosen) else choice and types.ToolChoice(choice),
        parallel_tool_calls=chat.parallel_tool_calls,
        json_output=_json_output(chat.response_format),
        extra=chat.model_extra or {},
        metadata={"task_type": task.task_type},
    )
    return Call(task, request, named, may_switch, key_id, trace)


def _needs(chat: ChatRequest) -> frozenset[Capability]:
    needs = {Capability.TOOLS} if chat.tools else set()
    if chat.response_format is not None and chat.response_format.type != "text":
        needs.add(Capability.JSON)
    return frozenset(needs)


def _tool_tokens(chat: ChatRequest) -> int:
    declared = sum(len(msgspec.json.encode(tool.function.parameters)) + len(tool.function.description or "") for tool in chat.tools or ())
    called = sum(len(call.function.arguments) for message in chat.messages for call in message.tool_calls or ())
    return (declared + called) // _CHARACTERS_PER_TOKEN


def _tool(declared: _Declared) -> types.Tool:
    return types.Tool(declared.name, declared.description or "", declared.parameters or {}, declared.strict)


def _message(message: ChatMessage) -> types.Message:
    content = tuple(_part(part) for part in message.content) if isinstance(message.content, list) else message.content or ""
    calls = tuple(types.ToolCall(c.id, c.function.name, c.function.arguments, _signature(c)) for c in message.tool_calls or ())
    return types.Message(message.role, content, calls, message.tool_call_id)


def _part(part: ChatPart) -> types.Text | types.Image:
    if part.image_url is not None:
        return types.Image(part.image_url.url, part.image_url.detail)
    return types.Text(part.text or part.refusal or "")


def _signature(call: _ToolCall) -> str | None:
    google = (call.extra_content or {}).get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def _json_output(wanted: _Format | None) -> types.JsonOutput | None:
    if wanted is None or wanted.type == "text":
        return None
    schema = wanted.json_schema
    return types.JsonOutput() if schema is None else types.JsonOutput(schema.schema_, schema.name, schema.strict)
