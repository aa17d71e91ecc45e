"""What goes into a provider call and what comes out: the same for every provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


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

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message: a data or https URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``role``: system, user or assistant."""

    role: str
    content: str | tuple[Text | Image, ...]

    @property
    def text(self) -> str:
        """The written parts, joined by line ends."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One call. ``model`` is the catalogue's id, ``provider/name``; adapters send the name."""

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float | None = None
    """Deadline of the whole call."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """For the adapter, never sent upstream. The scripted one reads ``task`` (a number) and ``task_type``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed. ``output_tokens`` includes ``reasoning_tokens``; ``input_tokens`` includes ``cached_input_tokens``."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    model: str
    text: str
    usage: Usage
    finish_reason: FinishReason
    latency_s: float
    """From sending the request to the last byte."""
    ttft_s: float | None = None
    """To the first token, where the answer was streamed."""
    request_id: str | None = None
    """The provider's."""
    cost_usd: float | None = None
    """Only where the provider bills an amount with the answer; otherwise the caller prices the usage."""


class Adapter(Protocol):
    """One provider's API. Safe for concurrent calls on one event loop."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Make one call, without retries.

        Raises ``AdapterError``; cancellation passes through.
        """
        ...

    async def close(self) -> None:
        """Give back connections. Nothing may be called afterwards."""
        ...
