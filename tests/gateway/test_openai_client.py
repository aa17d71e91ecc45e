"""The ``openai`` client against the service: plain, streaming, tools, pictures, errors."""

import base64
from typing import Any

import pytest

from adapters.types import ToolCall
from router.testing import Fault, Scenario
from tests.gateway.conftest import MODELS, NAMES, Gateway

openai = pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

ASK: Any = [{"role": "user", "content": "Where does the xq7markerq7x train leave?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "departures", "parameters": {"type": "object", "properties": {}}}}]
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG not really").decode()


async def test_a_plain_answer_names_its_decision_and_its_cost(gateway: Gateway) -> None:
    async with gateway.client() as client:
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=ASK, temperature=0.5, user="u-1")
    answer = raw.parse()
    assert answer.choices[0].message.content == "The quick brown fox jumps over the lazy dog."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    told = answer.model_extra["router"]
    assert told["model"] == told["chosen"] == answer.model == raw.headers["x-pointsman-model"]
    assert told["decision_id"] == raw.headers["x-pointsman-decision"]
    assert raw.headers["x-pointsman-reason"]
    assert told["cost_usd"] == pytest.approx(1e-6 * (answer.usage.prompt_tokens + 2 * answer.usage.completion_tokens))
    sent = gateway.stub.requests[-1].body
    assert (sent["temperature"], sent["user"]) == (0.5, "u-1")
    (row,) = await gateway.settled("select status, input_tokens, output_tokens, cost_usd from outcomes", bool)
    assert row == ("ok", answer.usage.prompt_tokens, answer.usage.completion_tokens, told["cost_usd"])
    assert gateway.rows("select number, model, status, forced, last from attempts") == [(1, answer.model, "ok", 0, 1)]


async def test_a_stream_has_openais_shape(gateway: Gateway) -> None:
    async with gateway.client() as client:
        stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "The quick brown fox jumps over the lazy dog."
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(c.usage is None for c in chunks[:-1])
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert chunks[-2].model_extra["router"]["cost_usd"] > 0


async def test_tool_calls_whole_and_streamed(gateway: Gateway) -> None:
    call = ToolCall("call_9", "departures", '{"from": "Zürich", "track": 9}')
    for name in NAMES:
        gateway.stub.script(name, Scenario(text="", tool_calls=(call,)))
    async with gateway.client() as client:
        answer = await client.chat.completions.create(model="auto", messages=ASK, tools=TOOLS, tool_choice="required")
        assert answer.choices[0].finish_reason == "tool_calls"
        (asked,) = answer.choices[0].message.tool_calls or ()
        assert (asked.id, asked.function.name, asked.function.arguments) == (call.id, call.name, call.arguments)
        async with client.chat.completions.stream(model="auto", messages=ASK, tools=TOOLS) as stream:
            final = await stream.get_final_completion()
        (streamed,) = final.choices[0].message.tool_calls or ()
        assert (streamed.id, streamed.function.name, streamed.function.arguments) == (call.id, call.name, call.arguments)
        said = answer.choices[0].message.model_dump(exclude_none=True)
        followed = [*ASK, said, {"role": "tool", "tool_call_id": "call_9", "content": "9:04"}]
        await client.chat.completions.create(model="auto", messages=followed, tools=TOOLS)
    received = gateway.stub.requests[-1].messages
    assert [message.role for message in received] == ["user", "assistant", "tool"]
    assert received[1].tool_calls == (call,)
    assert received[2].tool_call_id == "call_9"


async def test_pictures_and_response_formats_pass_through(gateway: Gateway) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]
    schema: Any = {"type": "json_schema", "json_schema": {"name": "seen", "schema": {"type": "object"}, "strict": True}}
    async with gateway.client() as client:
        asked: Any = [{"role": "user", "content": content}]
        answer = await client.chat.completions.create(model="auto", messages=asked, response_format=schema)
    assert answer.model_extra["router"]["task_type"] == "multimodal"
    sent = gateway.stub.requests[-1].body
    assert sent["messages"][0]["content"] == content
    assert sent["response_format"] == schema


async def test_a_named_model_is_a_forced_decision(gateway: Gateway) -> None:
    async with gateway.client() as client:
        answer = await client.chat.completions.create(model="beta/two", messages=ASK)
        told = answer.model_extra["router"]
        assert (told["model"], told["propensity"], told["forced"]) == ("beta/two", 1.0, True)
        typed = await client.chat.completions.create(model="auto:haiku", messages=ASK, extra_body={"router": {"explore": False}})
        assert typed.model_extra["router"]["task_type"] == "haiku"
        listed = await client.models.list()
        assert tuple(model.id for model in listed.data) == MODELS
        assert {row["provider"]: row["remedy"] for row in listed.model_extra["unavailable"]}["openai"] == "add it to POINTSMAN_PROVIDERS"
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="alpha/unknown", messages=ASK)
        with pytest.raises(openai.InternalServerError, match="cannot be called"):
            await client.chat.completions.create(model="openai/gpt-4o-mini", messages=ASK)
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await client.chat.completions.create(model="auto", messages=ASK, n=2)
    assert (refused.value.param, refused.value.type) == ("n", "invalid_request_error")
    excluded = gateway.rows("select excluded from decisions order by seq desc")[0][0]
    assert "provider_unavailable" in excluded
    await gateway.settled("select forced, propensity_q24 from decisions order by seq", lambda rows: rows[0] == (1, 2**24))


async def test_a_request_that_the_provider_refuses_is_the_callers_fault(gateway: Gateway) -> None:
    for name in NAMES:
        gateway.stub.script(name, Scenario(status=400))
    async with gateway.client() as client:
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="auto", messages=ASK)
    await gateway.settled("select status from outcomes", lambda rows: rows == [("rejected",)])
    assert len(gateway.stub.requests) == 1


async def test_a_stream_that_breaks_ends_with_an_error_and_is_no_answer(gateway: Gateway) -> None:
    for name in NAMES:
        gateway.stub.script(name, Scenario(fault=Fault.CUT))
    text = ""
    async with gateway.client() as client:
        stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):  # noqa: PT012 - the pieces before it matter
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
    assert text, "the cut comes after a piece"
    assert "The quick".startswith(text)  # a reset may overtake the last piece on its way from the provider
    await gateway.settled("select status from outcomes", lambda rows: rows == [("error",)])
    assert len(gateway.stub.requests) == 1, "nothing takes over once a piece has left"


async def test_no_text_is_kept(gateway: Gateway, capfd: pytest.CaptureFixture[str]) -> None:
    async with gateway.client() as client:
        await client.chat.completions.create(model="auto", messages=ASK)
        stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
        assert [chunk async for chunk in stream]
        for name in NAMES:
            gateway.stub.script(name, Scenario(status=500))
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="auto", messages=ASK)
    await gateway.settled("select status from outcomes", lambda rows: len(rows) == 3)
    gateway.stop()
    kept = b"".join(path.read_bytes() for path in gateway.database.parent.glob("log.db*"))
    assert b"gamma/three" in kept
    logged = capfd.readouterr()
    for text in (b"xq7markerq7x", b"quick brown fox"):
        assert text not in kept
        assert text.decode() not in logged.out + logged.err


async def test_an_episode_stays_where_its_prompt_is_cached(gateway: Gateway) -> None:
    long: Any = [{"role": "user", "content": "The signal stands at danger. " * 2000}]
    options = {"router": {"episode_id": "run-1", "weights": {"quality": 1, "cost": 100, "latency": 0}}}
    async with gateway.client() as client:
        await client.chat.completions.create(model="alpha/one", messages=long, extra_body={"router": {"episode_id": "run-1"}})
        answer = await client.chat.completions.create(model="auto", messages=long, extra_body=options)
    told = answer.model_extra["router"]
    assert (told["model"], told["forced"], told["propensity"]) == ("alpha/one", True, 1.0)
    assert told["reason"].startswith("stays with")
