"""Server-sent events from bytes. Only CR and LF end a line: a text may hold Unicode's other line separators."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of the stream."""

    name: str
    data: bytes


async def server_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """Parse events as they arrive; one that the stream cuts short is dropped."""
    rest = b""
    name, data = "", list[bytes]()
    async for chunk in chunks:
        *lines, rest = _LINE_END.split(rest + chunk)
        if rest == b"" and chunk.endswith(b"\r"):
            lines, rest = lines[:-1], lines[-1] + b"\r"  # the LF of a CRLF may still come
        for line in lines:
            if not line:
                if data:
                    yield ServerEvent(name, b"\n".join(data))
                name, data = "", []
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
