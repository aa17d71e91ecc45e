"""Connections of our own against servers that do what HTTP allows, and what it does not, on both event loops."""

import asyncio
import inspect
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from adapters import connections
from adapters.connections import Connection, Connections, ConnectTimeout, Unintelligible

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: a\r\n\r\nhello"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on asyncio's event loop and on the one that serves."""

    def run(loop: str, **given: object) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(**given))

    signature = inspect.signature(test)
    which = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__name__, run.__signature__ = test.__name__, signature.replace(parameters=[*signature.parameters.values(), which])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", LOOPS)(run)


@asynccontextmanager
async def served(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connections]:
    """Connections to a server that answers each request so; a request is 2 bytes after its head."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    kept = Connections(urlsplit(f"{'https' if tls else 'http'}://localhost:{port}/v1"), connect_s=60.0)
    try:
        yield kept
    finally:
        kept.close()
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def saying(*pieces: bytes, hang_up: bool = False) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if hang_up:
            raise ConnectionError

    return answer


async def asked(kept: Connections) -> tuple[Connection, bytes]:
    """One exchange, and the connection it went over, given back."""
    connection = await kept.take()
    try:
        connection.post(REQUEST)
        await connection.opened()
        return connection, await connection.whole()
    finally:
        kept.give(connection)


@on_both_loops
async def test_an_answer_in_one_piece_and_its_connection_again() -> None:
    async with served(saying(WHOLE)) as kept:
        first, body = await asked(kept)
        assert (body, first.status, first.headers["x-request-id"]) == (b"hello", 200, "a")
        second, body = await asked(kept)
        assert second is first
        assert body == b"hello"


@on_both_loops
async def test_pieces_as_they_come() -> None:
    chunks = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"2\r\nbc\r\n1\r\nd\r\n", b"0\r\n\r\n")
    async with served(saying(*chunks)) as kept:
        connection = await kept.take()
        connection.post(REQUEST)
        await connection.opened()
        assert b"".join([piece async for piece in connection.pieces()]) == b"abcd"
        assert connection.idle
        kept.give(connection)


@on_both_loops
async def test_an_answer_is_open_before_its_first_piece() -> None:
    opened = asyncio.Event()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await opened.wait()
        writer.write(b"hello")

    async with served(answer) as kept:
        connection = await kept.take()
        connection.post(REQUEST)
        async with asyncio.timeout(60):
            await connection.opened()
            assert (connection.status, connection.complete) == (200, False)
            opened.set()
            assert await connection.whole() == b"hello"
        kept.give(connection)


@on_both_loops
async def test_what_goes_before_an_answer_is_none() -> None:
    async with served(saying(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)) as kept:
        connection, body = await asked(kept)
        assert (body, connection.status, "link" in connection.headers) == (b"hello", 200, False)
        assert connection.idle


@on_both_loops
async def test_an_answer_that_says_no_length_ends_with_its_connection() -> None:
    async with served(saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"hel", b"lo", hang_up=True)) as kept:
        connection, body = await asked(kept)
        assert body == b"hello"
        assert not connection.idle


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"",
    ],
)
@on_both_loops
async def test_an_answer_that_is_cut_short_is_a_lost_connection(cut: bytes) -> None:
    async with served(saying(cut, hang_up=True)) as kept:
        with pytest.raises(ConnectionError):
            await asked(kept)


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", b"\0" * 64]
)
@on_both_loops
async def test_what_is_not_http_is_told(nonsense: bytes) -> None:
    async with served(saying(nonsense)) as kept:
        with pytest.raises(Unintelligible):
            await asked(kept)


@pytest.mark.parametrize("more", [WHOLE, b"\0\0\0\0"])
@on_both_loops
async def test_a_connection_that_says_more_than_was_asked_is_not_used_again(more: bytes) -> None:
    async with served(saying(WHOLE + more)) as kept:
        connection, body = await asked(kept)
        assert (body, connection.status) == (b"hello", 200)
        assert not connection.idle


@on_both_loops
async def test_a_connection_that_the_server_closes_while_it_is_kept_is_not_used_again() -> None:
    async with served(saying(WHOLE, hang_up=True)) as kept:
        first, _ = await asked(kept)
        for _ in range(6_000):
            if not first.idle:
                break
            await asyncio.sleep(0.01)
        second, body = await asked(kept)
        assert second is not first
        assert body == b"hello"


@on_both_loops
async def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_KEPT_S", 0.0)
    async with served(saying(WHOLE)) as kept:
        assert (await asked(kept))[0] is not (await asked(kept))[0]


@on_both_loops
async def test_a_server_waits_where_nobody_takes_what_it_says() -> None:
    size, written = 64 * 1024, 0

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1_000):
            writer.write(b"%x\r\n%b\r\n" % (size, b"x" * size))
            await writer.drain()
            written += size
        writer.write(b"0\r\n\r\n")

    async with served(answer) as kept:
        connection = await kept.take()
        connection.post(REQUEST)
        await connection.opened()
        before = -1
        while written != before:  # until nothing moves
            before = written
            await asyncio.sleep(0.3)
        assert written < 1_000 * size
        assert sum([len(piece) async for piece in connection.pieces()]) == 1_000 * size
        kept.give(connection)
        assert len((await asked(kept))[1]) == 1_000 * size


@on_both_loops
async def test_leaving_in_the_middle_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        try:
            await reader.read()
        finally:
            gone.set()

    async with served(answer) as kept:
        connection = await kept.take()
        connection.post(REQUEST)
        await connection.opened()
        kept.give(connection)
        async with asyncio.timeout(60):
            await gone.wait()


@on_both_loops
async def test_a_server_that_does_not_take_the_connection_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_args: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(connections.aiohappyeyeballs, "start_connection", never)
    with pytest.raises(ConnectTimeout):
        await Connections(urlsplit("http://127.0.0.1:9/v1"), connect_s=0.01).take()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, with its key."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs the program openssl")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@pytest.mark.parametrize("known", [True, False])
@on_both_loops
async def test_a_server_shows_a_certificate_that_this_machine_trusts(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    connections._trust.cache_clear()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    try:
        async with served(saying(WHOLE), tls) as kept:
            if known:
                assert (await asked(kept))[1] == b"hello"
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await asked(kept)
    finally:
        connections._trust.cache_clear()
