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
    for name in NAMES:
        gateway.stub.script(name, Scenario(text=text, chunk_delay_s=0.12, input_tokens=11))
    left: list[float] = []

    async with gateway.client() as client:

        async def one(i: int) -> str:
            asked: Any = {"stream": True, "stream_options": {"include_usage": True}, "extra_body": {"router": {"policy": "uniform"}}}
            stream = await client.chat.completions.create(model="auto", messages=ASK, **asked)
            said = ""
            async for chunk in stream:
                said += chunk.choices[0].delta.content or "" if chunk.choices else ""
                if i % 4 == 0 and len(said) > 10:
                    left.append(time.monotonic())
                    await stream.close()
                    return said
            assert chunk.usage.completion_tokens == TOKENS
            return said

        texts = await asyncio.gather(*(one(i) for i in range(STREAMS)))
        for _ in range(100):
            if sum(received.left_at is not None for received in gateway.stub.requests) == STREAMS // 4:
                break
            await asyncio.sleep(0.02)
    assert all(text.startswith(said) if i % 4 == 0 else text == said for i, said in enumerate(texts))
    closed = sorted(received.left_at for received in gateway.stub.requests if received.left_at is not None)
    assert len(closed) == len(left) == STREAMS // 4
    assert max(late - early for early, late in zip(sorted(left), closed, strict=True)) < 1.0
    counted = "select status, count(*), min(input_tokens), max(input_tokens), min(output_tokens), max(output_tokens) from outcomes"
    rows = await gateway.settled(f"{counted} group by status order by status", lambda rows: sum(row[1] for row in rows) == STREAMS)
    assert rows[1] == ("ok", STREAMS * 3 // 4, 11, 11, TOKENS, TOKENS)
    status, n, *_, least, most = rows[0]
    assert (status, n) == ("cancelled", STREAMS // 4)
    assert 0 < least <= most < TOKENS, "by our own count, marked as estimated"
    assert gateway.rows("select count(*) from attempts where estimated = 1") == [(STREAMS // 4,)]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_hangs_up_ends_the_upstream_within_a_second(gateway: Gateway, stream: bool) -> None:
    for name in NAMES:
        gateway.stub.script(name, Scenario(text="word " * 400, chunk_delay_s=0.02, latency_s=0.0 if stream else 4.0))
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
        while received.left_at is None and time.monotonic() - left < 3:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    assert received.left_at is not None
    assert received.left_at - left < 1.0
    (row,) = await gateway.settled("select status, error, estimated, output_tokens, cost_usd > 0 from attempts", bool)
    assert row[:3] == ("cancelled", None, 1)
    assert row[4] == 1
    assert (row[3] >= 5) is stream
    assert gateway.rows("select status from outcomes") == [("cancelled",)]
