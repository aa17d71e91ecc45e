"""What a stub does with a call."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from adapters.types import FinishReason, Message, ToolCall

_TOKENS = re.compile(r"\s*\S+\s*$|\s*\S+")


class Fault(StrEnum):
    """How an answer goes wrong, beside an error status."""

    NONE = "none"
    HANG = "hang"
    """The call is taken and never answered."""
    DROP = "drop"
    """The connection is closed without an answer."""
    GARBAGE = "garbage"
    """Bytes that are not JSON."""
    HTML = "html"
    """A web page with status 200."""
    EMPTY_OBJECT = "empty_object"
    """``{}`` with status 200."""
    CUT = "cut"
    """The connection breaks in the middle of the answer."""
    QUIET_END = "quiet_end"
    """A stream ends in good order but before the answer does."""
    STALL = "stall"
    """A stream goes silent."""
    STREAM_ERROR = "stream_error"
    """A stream carries the provider's error event."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scripted answer; the default is an ordinary one."""

    text: str = "The quick brown fox jumps over the lazy dog."
    """A token is a word with the space before it."""
    write: "Callable[[Asked], str] | None" = None
    """Makes the text of each request, instead of ``text``: a scripted model that does its task."""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """None: what follows from the answer and the request's limit."""
    input_tokens: int | None = None
    """None: the words of the messages."""
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    """For providers that report one."""
    latency_s: float = 0.0
    """Before the answer or its first chunk."""
    tokens_per_chunk: int = 1
    chunk_delay_s: float = 0.0
    """Before each chunk but the first."""
    fault: Fault = Fault.NONE
    fault_after_chunks: int = 2
    status: int = 200
    error_code: str | None = None
    """The machine-readable name beside the status; None: the provider's usual one."""
    error_message: str | None = None
    """None: one that quotes the key and the prompt, as providers do."""
    retry_after: str | None = None
    prediction_error: str | None = None
    """Replicate only: the prediction is created and then fails with these words."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as every wire format means it."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    max_output_tokens: int | None = None
    include_usage: bool = True
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as every wire format means it."""

    id: str
    model: str
    chunks: tuple[str, ...]
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cost_usd: float | None
    include_usage: bool

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.chunks)


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes of a stream; ``content``: they carry a piece of the answer."""

    data: bytes
    content: bool = False


def answer(scenario: Scenario, asked: Asked, number: int) -> Answer:
    """What the scenario answers to a request; the same every time."""
    tokens = _TOKENS.findall(scenario.text if scenario.write is None else scenario.write(asked))
    limit, reason = asked.max_output_tokens, FinishReason.TOOL_CALLS if scenario.tool_calls else FinishReason.STOP
    thought = len(_TOKENS.findall(scenario.reasoning))
    if limit is not None and thought + len(tokens) > limit:
        tokens, reason = tokens[: max(limit - thought, 0)], FinishReason.LENGTH
    size = max(scenario.tokens_per_chunk, 1)
    called = sum(1 + len(_TOKENS.findall(call.arguments)) for call in scenario.tool_calls)
    read = sum(len(message.text.split()) for message in asked.messages)
    return Answer(
        id=f"stub-{number}",
        model=asked.model,
        chunks=tuple("".join(tokens[start : start + size]) for start in range(0, len(tokens), size)),
        reasoning=scenario.reasoning,
        tool_calls=scenario.tool_calls,
        finish_reason=scenario.finish_reason or reason,
        input_tokens=read if scenario.input_tokens is None else scenario.input_tokens,
        output_tokens=thought + len(tokens) + called,
        reasoning_tokens=thought,
        cached_input_tokens=scenario.cached_input_tokens,
        cache_write_tokens=scenario.cache_write_tokens,
        cost_usd=scenario.cost_usd,
        include_usage=asked.include_usage,
    )
