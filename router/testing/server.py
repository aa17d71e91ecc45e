"""A small HTTP/1.1 server that can misbehave on purpose: hang, cut an answer short, and tell when the client hangs up."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One request; header names are lower case."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    client_port: int


class Reply:
    """Writes one answer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def whole(self, body: bytes, status: int = 200, headers: Headers | None = None, kind: str = "application/json") -> None:
        """Send everything at once."""
        self._head(status, {"content-type": kind, "content-length": str(len(body)), **(headers or {})}, body)

    def json(self, value: Any, status: int = 200, headers: Headers | None = None) -> None:
        """Send a JSON value."""
        self.whole(json.dumps(value, ensure_ascii=False).encode(), status, headers)

    def start(self, headers: Headers | None = None, kind: str = "text/event-stream") -> None:
        """Begin an answer of unknown length."""
        self._head(200, {"content-type": kind, "transfer-encoding": "chunked", **(headers or {})})

    def chunk(self, data: bytes) -> None:
        """Send the next piece."""
        self._transport.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end(self) -> None:
        """End an answer of unknown length."""
        self._transport.write(b"0\r\n\r\n")

    def promise(self, length: int, begin: bytes) -> None:
        """Send the beginning of an answer that claims to be longer."""
        self._head(200, {"content-type": "application/json", "content-length": str(length)}, begin)

    def hang_up(self) -> None:
        """Close the connection, whatever has been sent."""
        self._transport.close()

    def _head(self, status: int, headers: Headers, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._transport.write("\r\n".join(lines).encode("latin-1") + body)


Respond = Callable[[Call, Reply], Awaitable[None]]
"""Answers a call; cancelled where the client hangs up first."""


class Connection(asyncio.Protocol):
    """One client's connection: reads calls, one at a time."""

    def __init__(self, respond: Respond, opened: set[asyncio.Transport]) -> None:
        self._respond = respond
        self._opened = opened
        self._buffer = bytearray()
        self._port = 0
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._port = int(transport.get_extra_info("peername")[1])
        self._opened.add(transport)

    def data_received(self, data: bytes) -> None:
        """Collect bytes until a call is whole."""
        self._buffer += data
        self._next()

    def eof_received(self) -> bool:
        """A client that closes has hung up."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop answering a client that is gone."""
        if self._transport is not None:
            self._opened.discard(self._transport)
        if self._task is not None:
            self._task.cancel()

    def _next(self) -> None:
        if self._task is not None or self._transport is None or (call := _parse(self._buffer, self._port)) is None:
            return
        self._task = asyncio.get_running_loop().create_task(self._answer(call, Reply(self._transport)))
        self._task.add_done_callback(self._answered)

    async def _answer(self, call: Call, reply: Reply) -> None:
        await self._respond(call, reply)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (fault := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "the stub failed to answer", "exception": fault})
            if self._transport is not None:
                self._transport.abort()
            return
        self._next()


def _parse(buffer: bytearray, client_port: int) -> Call | None:
    """Take one whole call off the buffer, if there is one."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    taken = _body(buffer, end + 4, headers)
    if taken is None:
        return None
    body, used = taken
    del buffer[:used]
    path, _, query = target.partition("?")
    return Call(method, path, query, headers, body, client_port)


def _body(buffer: bytearray, start: int, headers: Headers) -> tuple[bytes, int] | None:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        end = start + int(headers.get("content-length", "0"))
        return (bytes(buffer[start:end]), end) if len(buffer) >= end else None
    pieces: list[bytes] = []
    while (line := buffer.find(b"\r\n", start)) >= 0:
        size = int(bytes(buffer[start:line]).split(b";")[0], 16)
        begin, start = line + 2, line + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return b"".join(pieces), start
        pieces.append(bytes(buffer[begin : begin + size]))
    return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
