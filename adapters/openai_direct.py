"""Carries calls to an OpenAI-compatible endpoint over connections of our own: the hot path, at less than a tenth of the SDK's CPU."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from adapters.connections import Connection, Connections
from adapters.endpoints import OPENAI, Endpoint, sendable
from adapters.errors import AdapterUnavailable
from adapters.openai_calls import HEADERS, PATH, Reply
from adapters.types import Timeouts

_ENDING_S = 0.05
"""How long the end of a stream is waited for once the answer is whole, so that its connection can be kept."""
_PATH_SIGNS = "/%:@!$&'()*+,;=~"
_ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


class DirectCaller:
    """One endpoint, which no proxy stands before."""

    faults = (OSError,)
    """What stands for a connection that failed."""

    def __init__(self, api_key: str, base_url: str, endpoint: Endpoint, timeouts: Timeouts) -> None:
        address = urlsplit(base_url.rstrip("/") + PATH)
        headers = {
            "Host": address.netloc.rpartition("@")[2].encode("idna").decode(),
            **HEADERS,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": "pointsman",
        }
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        if endpoint.name == OPENAI.name:
            headers |= {header: _account(name) for header, name in _ACCOUNT.items() if os.environ.get(name)}
        target = quote(address.path, safe=_PATH_SIGNS) + (f"?{address.query}" if address.query else "")
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Content-Length: "]
        self._head = "\r\n".join(lines).encode("latin-1")
        self._host = address.hostname
        self._connections = Connections(address, connect_s=timeouts.connect_s)

    @asynccontextmanager
    async def send(self, body: bytes, *, stream: bool) -> AsyncIterator[Reply]:
        """Post a body; leaving early closes the connection. Raises ``faults``."""
        connection = await self._connections.take()
        try:
            connection.post(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            await connection.opened()
            if not stream or connection.status != 200:
                yield Reply(connection.status, connection.headers, await connection.whole())
                return
            yield Reply(connection.status, connection.headers, chunks=connection.pieces())
            await _end(connection)
        finally:
            self._connections.give(connection)

    async def close(self) -> None:
        """Give back connections."""
        self._connections.close()

    def __repr__(self) -> str:
        return f"DirectCaller({self._host})"


def _account(variable: str) -> str:
    value = os.environ[variable].strip()
    if not sendable(value):
        raise AdapterUnavailable(f"{variable} holds what no header can carry", remedy=f"set {variable} again, on one line")
    return value


async def _end(connection: Connection) -> None:
    if connection.complete:
        return
    try:
        async with asyncio.timeout(_ENDING_S):
            await connection.whole()
    except OSError:  # timeouts are some
        return


def proxied(base_url: str) -> bool:
    """Whether the environment puts a proxy before an address."""
    parts = urlsplit(base_url)
    return parts.hostname is not None and not proxy_bypass(parts.hostname) and parts.scheme in getproxies()
