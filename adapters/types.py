"""What goes into a provider call and what comes out: the same for every provider. Texts and pictures stay out of every repr."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class FinishReason(StrEnum):
    """Why the answer ended."""

    STOP = "stop"
    LENGTH = "length"
    """The output limit was reached."""
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Text:
    """A written part of a message."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message: a data or https URL."""

    url: str = field(repr=False)
    detail: str | None = None
    """How closely to look, where the provider offers a choice: low, high, auto."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool to be run."""

    id: str
    name: str
    arguments: str = field(repr=False)
    """A JSON object, as text."""
    signature: str | None = field(default=None, repr=False)
    """The provider's opaque note about the call (base64), to be sent back with it: newer Gemini models insist."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``role``: system, developer, user, assistant or tool (the result of the call ``tool_call_id``)."""

    role: str
    content: str | tuple[Text | Image, ...] = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The written parts, joined by line ends."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures, in order."""
        return () if isinstance(self.content, str) else tuple(part for part in self.content if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = field(default="", repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """A JSON schema of an object."""
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """``mode``: auto, none, required, or tool (the one that ``name`` says)."""

    mode: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class JsonOutput:
    """The answer must be JSON; with a schema: of that shape."""

    schema: Mapping[str, Any] | None = field(default=None, repr=False)
    name: str = "answer"
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an adapter waits; None = no limit of its own."""

    connect_s: float = 5.0
    first_token_s: float | None = 120.0
    """From sending the request to the first token of a stream."""
    idle_s: float | None = 60.0
    """Between two tokens of a stream."""
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One call. ``model`` is the catalogue's id, ``provider/name``; adapters send the name."""

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float | None = None
    """Deadline of the whole call, instead of the adapter's."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """For the adapter, never sent upstream. The scripted one reads ``task`` (a number) and ``task_type``."""
    first_token_timeout_s: float | None = None
    """Deadline of a stream's first token, instead of the adapter's."""
    top_p: float | None = None
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    json_output: JsonOutput | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further fields of the caller's body, by their OpenAI names; each adapter sends those that its provider takes."""

    @property
    def name(self) -> str:
        """The model's name at its provider."""
        return self.model.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed.

    ``output_tokens`` includes ``reasoning_tokens``; ``input_tokens`` includes ``cached_input_tokens`` and ``cache_write_tokens``.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    """Input that the provider stored for later calls and bills at its own rate."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    model: str
    text: str = field(repr=False)
    usage: Usage | None
    """None: the provider did not say."""
    finish_reason: FinishReason
    latency_s: float
    """From sending the request to the last byte."""
    ttft_s: float | None = None
    """To the first token, where the answer was streamed."""
    request_id: str | None = None
    """The provider's."""
    cost_usd: float | None = None
    """Only where the provider bills an amount with the answer; otherwise the caller prices the usage."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = field(default="", repr=False)
    """What the model thought aloud, where the provider shows it."""
    compute_s: float | None = None
    """Seconds of hardware, where the provider bills those."""
    body: bytes | None = field(default=None, repr=False, compare=False)
    """The provider's own answer where it is in OpenAI's format, to be passed on as it came."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thinks aloud."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of the tool call number ``index``; the first one carries its id and name."""

    index: int
    arguments: str = field(default="", repr=False)
    id: str | None = None
    name: str | None = None
    signature: str | None = field(default=None, repr=False)


Delta = TextDelta | ReasoningDelta | ToolCallDelta
StreamEvent = Delta | Completion
"""A stream is any number of deltas and then the whole answer as one ``Completion``."""


class Adapter(Protocol):
    """One provider's API. Safe for concurrent calls on one event loop."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Make one call, without retries.

        Raises ``AdapterError``; cancellation passes through and closes the connection.
        """
        ...

    async def close(self) -> None:
        """Give back connections. Nothing may be called afterwards."""
        ...


class StreamingAdapter(Adapter, Protocol):
    """An adapter that also hands over the answer while it is made."""

    def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer's pieces in order and then the whole ``Completion``, without retries.

        Close the generator (``contextlib.aclosing``) to leave early: that closes the connection, as cancellation does.
        Raises ``AdapterError``, before the first piece or between two.
        """
        ...
