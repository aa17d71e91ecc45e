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
STREAMS = 200


async def test_two_hundred_streams_each_in_order_with_usage(gateway: Gateway) -> None:
    text = " ".join(str(i) for i in range(60))
    for name in NAMES:
        gateway.stub.script(name, Scenario(text=text, chunk_delay_s=0.005, input_tokens=11))

    async with gateway.client() as client:

        async def one() -> str:
            asked: Any = {"stream": True, "stream_options": {"include_usage": True}, "extra_body": {"router": {"policy": "uniform"}}}
            stream = await client.chat.completions.create(model="auto", messages=ASK, **asked)
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage.completion_tokens == 60
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        texts = await asyncio.gather(*(one() for _ in range(STREAMS)))
    assert texts == [text] * STREAMS
    recorded = "select count(*), min(input_tokens), max(input_tokens), min(output_tokens), max(output_tokens) from outcomes"
    await gateway.settled(f"{recorded} where status = 'ok'", lambda rows: rows == [(STREAMS, 11, 11, 60, 60)])


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
