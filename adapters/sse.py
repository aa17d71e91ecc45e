"""Server-sent events from bytes. Only CR and LF end a line: a text may hold Unicode's other line separators."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of the stream."""

    name: str
    data: bytes


class EventReader:
    """Reads the events of one stream; one that the stream cuts short is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []

    def read(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that the next bytes bring to their ends; take all of them."""
        text = self._rest + chunk
        *lines, rest = _LINE_END.split(text) if b"\r" in text else text.split(b"\n")  # most streams have no CR, and need no pattern
        if rest == b"" and chunk.endswith(b"\r"):
            lines, rest = lines[:-1], lines[-1] + b"\r"  # the LF of a CRLF may still come
        self._rest = rest
        for line in lines:
            if not line:
                if self._data:
                    yield ServerEvent(self._name, b"\n".join(self._data))
                self._name, self._data = "", []
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._data.append(value)
            elif field == b"event":
                self._name = value.decode("utf-8", "replace")


async def server_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """Parse events as they arrive."""
    reader = EventReader()
    async for chunk in chunks:
        for event in reader.read(chunk):
            yield event
