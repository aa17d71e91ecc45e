"""Many streams at once, and callers that hang up."""

import asyncio
import time
from typing import Any

import pytest

from router.testing import Scenario
from tests.gateway.conftest import NAMES, Gateway

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

ASK: Any = [{"role": "user", "content": "Count."}]
STREAMS, TOKENS = 200, 30


async def test_two_hundred_streams_each_in_order_with_usage_and_a_quarter_that_leaves(gateway: Gateway) -> None:
    text = " ".join(str(i) for i in range(TOKENS))
    for name in ("one", "two"):
        gateway.stub.script(name, Scenario(text=text, chunk_delay_s=0.02, input_tokens=11))
    gateway.stub.script("three", Scenario(text=" ".join(str(i) for i in range(2000)), chunk_delay_s=0.2))  # nobody waits for its end
    left: list[float] = []
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}

    async with gateway.client() as client:

        async def stays() -> None:
            route = {"router": {"policy": "uniform", "constraints": {"models": ["alpha/one", "beta/two"]}}}
            stream = await client.chat.completions.create(model="auto", messages=ASK, extra_body=route, **options)
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
            assert chunks[-1].usage.completion_tokens == TOKENS

        async def leaves() -> None:
            stream = await client.chat.completions.create(model="gamma/three", messages=ASK, **options)
            said = [(await anext(stream)).choices[0].delta.content for _ in range(5)]
            assert "".join(said[1:]) == "0 1 2 3"[: len("".join(said[1:]))]
            left.append(time.monotonic())
            await stream.close()

        await asyncio.gather(*(leaves() if i % 4 == 0 else stays() for i in range(STREAMS)))
        for _ in range(6_000):
            if sum(received.left_at is not None for received in gateway.stub.requests) == STREAMS // 4:
                break
            await asyncio.sleep(0.02)
    closed = sorted(received.left_at for received in gateway.stub.requests if received.left_at is not None)
    assert len(closed) == len(left) == STREAMS // 4
    counted = "select status, count(*), min(input_tokens), max(input_tokens), min(output_tokens), max(output_tokens) from outcomes"
    rows = await gateway.settled(f"{counted} group by status order by status", lambda rows: sum(row[1] for row in rows) == STREAMS)
    assert rows[1] == ("ok", STREAMS * 3 // 4, 11, 11, TOKENS, TOKENS)
    assert rows[0][:2] == ("cancelled", STREAMS // 4)
    assert rows[0][4] > 0
    assert gateway.rows("select count(*) from attempts where estimated = 1") == [(STREAMS // 4,)], "by our own count"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_hangs_up_ends_the_upstream_long_before_its_answer_would_end(gateway: Gateway, stream: bool) -> None:
    for name in NAMES:
        gateway.stub.script(name, Scenario(text="word " * 3_000, chunk_delay_s=0.1, latency_s=0.0 if stream else 300.0))
    async with gateway.client() as client:
        call = asyncio.ensure_future(client.chat.completions.create(model="auto", messages=ASK, stream=stream))
        if stream:
            answer = await call
            pieces = [await anext(answer) for _ in range(10)]
            assert pieces
            left = time.monotonic()
            await answer.close()
        else:
            while not gateway.stub.requests:  # noqa: ASYNC110 - the stub lives in another thread
                await asyncio.sleep(0.01)
            left = time.monotonic()
            call.cancel()
        (received,) = gateway.stub.requests
        while received.left_at is None and time.monotonic() - left < 120:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    assert received.left_at is not None
    assert received.left_at - left < 120.0, "the benchmark says how soon; this, that it is not the end of the answer"
    (row,) = await gateway.settled("select status, error, estimated, output_tokens, cost_usd > 0 from attempts", bool)
    assert row[:3] == ("cancelled", None, 1)
    assert row[4] == 1
    assert (row[3] >= 5) is stream
    assert await gateway.settled("select status from outcomes", bool) == [("cancelled",)]
