"""Connections to one server that are kept between calls: HTTP/1.1 with as little as a call to a model needs.

No redirects, cookies, compression or proxies: a call takes half the CPU that it takes over aiohttp, and its request leaves in the turn of
the event loop that posts it.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from urllib.parse import SplitResult

import aiohappyeyeballs
import httptools

_KEPT_S = 15.0
"""How long an idle connection is kept: servers close theirs after some time, and a request that crosses that is lost."""
_NEXT_ADDRESS_S = 0.25
"""How long an address of a name may take to answer before the next one is tried beside it (RFC 8305)."""
_MOST_BYTES = 256 * 1024
"""Of an answer that nobody has taken yet; the server has to wait then."""
_FIRST_FINAL_STATUS = 200


class ConnectTimeout(TimeoutError):
    """The server could not be reached in time."""


class Unintelligible(ConnectionError):
    """What came is not HTTP, or not an answer to what was asked."""


class Connection(asyncio.Protocol):
    """One connection, for one exchange at a time: ``post``, ``opened``, then ``whole`` or ``pieces``."""

    def __init__(self) -> None:
        self.kept_since = 0.0
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case."""
        self.complete = True
        """The answer is there as a whole, or nothing was asked."""
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._paused = False
        self._reusable = True
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def idle(self) -> bool:
        """It can carry another exchange."""
        return self.complete and self._reusable and self._lost is None and not self._transport.is_closing()

    def post(self, request: bytes) -> None:
        """Send a request."""
        self.status, self.headers, self.complete = 0, {}, False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    async def opened(self) -> None:
        """Return when the status and the headers are there. Raises ``OSError``."""
        while not self.status:
            await self._more()

    async def whole(self) -> bytes:
        """The body. Raises ``OSError``."""
        while not self.complete:
            if self._paused:
                self._resume()
            await self._more()
        return self._take()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ``OSError``."""
        while True:
            if self._pieces:
                yield self._take()
            elif self.complete:
                return
            else:
                await self._more()

    def close(self) -> None:
        """Whatever was asked, nobody wants it any more."""
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:  # not every event loop derives its own from asyncio's
        """Keep the transport."""
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.complete:
            self.close()  # nothing was asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(Unintelligible(type(exc).__name__))
            self.close()
            return
        if self.status:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of an answer that says no length, or a failure."""
        if not self.complete and self.status and self.headers.keys().isdisjoint({"content-length", "transfer-encoding"}):
            self.complete = True
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def on_message_begin(self) -> None:
        """An answer, or one before it that only says to go on waiting."""
        if self.complete:
            raise Unintelligible("a second answer")
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status, and whether the server will take another request here."""
        status = self._parser.get_status_code()
        if status >= _FIRST_FINAL_STATUS:
            self.status, self._reusable = status, self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        """Keep a piece until it is taken."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > _MOST_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Only the last answer counts."""
        self.complete = self.status > 0

    def _take(self) -> bytes:
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        if self._paused:
            self._resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    async def _more(self) -> None:
        if self._lost is not None:
            raise self._lost
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _fail(self, exc: Exception) -> None:
        if self._lost is None:
            self._lost = exc
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Connections:
    """Those to the server of one address."""

    def __init__(self, address: SplitResult, *, connect_s: float) -> None:
        self._host = address.hostname or ""
        self._tls = address.scheme == "https"
        self._port = address.port or (443 if self._tls else 80)
        self._connect_s = connect_s
        self._idle: deque[Connection] = deque()
        """The longest kept first."""

    async def take(self) -> Connection:
        """One that nobody uses; ``give`` it back. Raises ``OSError``."""
        oldest = asyncio.get_running_loop().time() - _KEPT_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle and connection.kept_since > oldest:
                return connection
            connection.close()
        return await self._connect()

    def give(self, connection: Connection) -> None:
        """Keep it where it can carry another exchange, else close it."""
        if not connection.idle:
            connection.close()
            return
        connection.kept_since = asyncio.get_running_loop().time()
        while self._idle and self._idle[0].kept_since <= connection.kept_since - _KEPT_S:
            self._idle.popleft().close()
        self._idle.append(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                tls, name = (_trust(), self._host) if self._tls else (None, None)
                _, connection = await loop.create_connection(Connection, sock=sock, ssl=tls, server_hostname=name)
        except TimeoutError:
            raise ConnectTimeout from None
        return connection


@cache
def _trust() -> ssl.SSLContext:
    """The authorities that this machine trusts."""
    return ssl.create_default_context()
