"""A real server on loopback: sockets, chunked and oversized bodies, callers that hang up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from tests.api.conftest import Rig


@pytest.fixture
async def port(rig: Rig) -> AsyncIterator[int]:
    settings = uvicorn.Config(
        rig.app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=75
    )
    server = uvicorn.Server(settings)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag and no event
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


async def exchange(port: int, head: str, *pieces: bytes, hang_up: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n".encode())
        for piece in pieces:
            writer.write(piece)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return b"" if hang_up else await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_oversized_body_is_refused_and_the_connection_still_works(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        big = json.dumps({"prompt": "a" * 2_000_000}).encode()
        answer = await client.post("/v1/route", content=big, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert (await client.post("/v1/route", json={"task_type": "x"})).status_code == 200


async def test_chunked_oversized_body_is_refused(port: int) -> None:
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    answer = await exchange(port, "Transfer-Encoding: chunked\r\nConnection: close\r\n", *[chunk] * 20, b"0\r\n\r\n")
    assert b" 413 " in answer.split(b"\r\n")[0]


async def test_oversized_body_on_a_connection_to_be_closed_still_gets_its_answer(port: int) -> None:
    answer = await exchange(port, "Content-Length: 2000000\r\nConnection: close\r\n", b"a" * 2_000_000)
    assert b" 413 " in answer.split(b"\r\n")[0]


async def test_caller_that_hangs_up_early_breaks_nothing(port: int, rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    await exchange(port, "Content-Length: 100\r\n", b'{"task_type"', hang_up=True)
    await asyncio.sleep(0.1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        assert (await client.get("/healthz")).status_code == 200
    assert "Traceback" not in capfd.readouterr().err
    assert rig.store.last_seq() == 0


async def test_many_at_once_are_all_durable(port: int, rig: Rig) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        answers = await asyncio.gather(*(client.post("/v1/route", json={"task_type": "x"}) for _ in range(60)))
    made = {answer.json()["decision_id"] for answer in answers}
    assert len(made) == 60
    assert rig.store.counts()["decisions"] == 60
