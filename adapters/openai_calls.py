"""How a body gets to an OpenAI-compatible endpoint and its answer back: what the two ways of carrying it have in common."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

PATH = "/chat/completions"
HEADERS = {"Content-Type": "application/json"}


class Client(StrEnum):
    """What carries the calls."""

    SDK = "sdk"
    """The vendor's own."""
    DIRECT = "direct"
    """The wire as it is, for less CPU."""


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: whole, or as it comes."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)
    chunks: AsyncIterator[bytes] = field(default_factory=_nothing)


class Caller(Protocol):
    """Sends bodies to one endpoint."""

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What stands for a connection that failed."""
        ...

    def send(self, body: bytes, *, stream: bool) -> AbstractAsyncContextManager[Reply]:
        """Post a body; leaving early closes the connection. Raises ``faults``."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
