"""The shipped stub, by a plain HTTP client."""

import asyncio
import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from provider_contract import until

from router.testing import Fault, Scenario, Stub

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one two three"}]}


def post(stub: Stub, body: Any, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(stub.url).netloc, timeout=60)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_a_script_is_played_in_order_and_its_last_scenario_stays(stub: Stub) -> None:
    stub.script("gpt-4o", Scenario(status=429, retry_after="2"), Scenario(text="Good morning."))
    status, headers, _ = post(stub, CHAT)
    assert (status, headers["retry-after"]) == (429, "2")
    for _ in range(2):
        status, _, body = post(stub, CHAT)
        said = json.loads(body)
        assert (status, said["choices"][0]["message"]["content"]) == (200, "Good morning.")
        assert said["usage"]["prompt_tokens"] == 3
    with pytest.raises(ValueError, match="needs a scenario"):
        stub.script("gpt-4o")


def test_a_header_may_name_the_script(stub: Stub) -> None:
    stub.script("outage", Scenario(status=503))
    assert post(stub, CHAT)[0] == 200
    assert post(stub, CHAT, **{"x-stub-scenario": "outage"})[0] == 503


def test_the_same_question_has_the_same_answer(stub: Stub) -> None:
    first, second = (json.loads(post(stub, CHAT)[2]) for _ in range(2))
    assert {**first, "id": ""} == {**second, "id": ""}


def test_what_came_in_is_kept(stub: Stub) -> None:
    post(stub, CHAT, authorization="Bearer k")
    (received,) = stub.requests
    assert (received.provider, received.model, received.body) == ("openai", "gpt-4o", CHAT)
    assert received.headers["authorization"] == "Bearer k"
    assert received.messages[0].text == "one two three"
    assert "Bearer" not in repr(received)
    stub.forget()
    assert stub.requests == []


def test_a_stream_is_sent_token_by_token(stub: Stub) -> None:
    stub.script("gpt-4o", Scenario(text="a b c d", tokens_per_chunk=2, chunk_delay_s=0.05))
    started = time.monotonic()
    _, headers, body = post(stub, {**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert time.monotonic() - started > 0.04
    assert headers["content-type"] == "text/event-stream"
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:3]] == ["a b", " c d"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 4


def test_unknown_paths_and_bodies_that_are_no_json(stub: Stub) -> None:
    assert post(stub, {}, "/nowhere")[0] == 404
    assert post(stub, [1])[0] == 200


def test_one_connection_carries_calls_one_after_the_other_and_chunked_bodies(stub: Stub) -> None:
    connection = http.client.HTTPConnection(urlsplit(stub.url).netloc, timeout=60)
    text = json.dumps(CHAT).encode()
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", iter([text[:10], text[10:]]), encode_chunked=True)
        assert json.loads(connection.getresponse().read())["object"] == "chat.completion"
    connection.close()
    assert [received.body for received in stub.requests] == [CHAT] * 3


async def test_a_client_that_hangs_up_is_noticed(stub: Stub) -> None:
    stub.script("gpt-4o", Scenario(fault=Fault.HANG))
    text = json.dumps(CHAT).encode()
    with socket.create_connection(("127.0.0.1", int(stub.url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
        assert await until(lambda: bool(stub.requests))
        await asyncio.sleep(0.1)
        assert stub.requests[0].left_at is None
    assert await until(lambda: stub.requests[0].left_at is not None)
    assert stub.requests[0].answered_at is None


def test_two_stubs_do_not_share(stub: Stub) -> None:
    with Stub() as other:
        assert other.url != stub.url
        other.default = Scenario(text="Other.")
        assert b"Other." in post(other, CHAT)[2]
        assert b"Other." not in post(stub, CHAT)[2]
    with pytest.raises(OSError, match="refused"):
        post(other, CHAT)


def test_a_stub_can_refuse_connections_and_take_them_again(stub: Stub) -> None:
    with Stub() as own:
        address = own.url
        assert post(own, CHAT)[0] == 200
        own.refuse()
        with pytest.raises(OSError, match="refused"):
            post(own, CHAT)
        own.listen()
        assert own.url == address
        assert post(own, CHAT)[0] == 200
