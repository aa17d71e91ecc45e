"""Replicate, with the real SDK against the stub."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("replicate", reason="needs the extra replicate")

from provider_contract import PNG, PROMPT, SECRET, WAYS, WEATHER, ProviderContract, call, collect, keeps_secrets, until

from adapters.errors import ContentRefused, ContextTooLong, ProviderDown, ProviderTimeout, RequestRejected
from adapters.replicate import ReplicateAdapter
from adapters.types import Completion, CompletionRequest, Image, JsonOutput, Message, TextDelta
from router.testing import Scenario, Stub
from router.testing.replicate_format import Prediction

VERSION = "a" * 64


class TestReplicate(ProviderContract):
    provider = "replicate"
    speaks = "replicate"
    key_variable = "REPLICATE_API_TOKEN"
    model = "replicate/meta/codellama-70b-instruct"
    priced = "replicate/meta/meta-llama-3-70b-instruct"
    unsupported = frozenset({"tools", "json", "cached"})

    @pytest.fixture(autouse=True)
    def look_before(self, running_stub: Stub) -> None:
        self.earlier = set(running_stub._predictions)

    def slow_ones(self, stub: Stub) -> list[Prediction]:
        """Of this test; another one's may still be being cancelled."""
        return [made for name, made in stub._predictions.items() if name not in self.earlier and made.scenario.latency_s > 0]

    async def test_the_wire_in(self, adapter: Any, stub: Stub) -> None:
        request = self.request(
            Message("system", "Be brief."),
            Message("user", (Image(PNG),)),
            Message("assistant", "A dot."),
            Message("user", "Which colour?"),
            max_output_tokens=100,
            temperature=0.5,
            top_p=0.9,
            seed=7,
            stop=("END", "STOP"),
            extra={"top_k": 5, "user": "u", "n": 1},
        )
        await adapter.complete(request)
        (received,) = stub.requests
        assert received.body == {
            "input": {
                "prompt": "User: \n\nAssistant: A dot.\n\nUser: Which colour?\n\nAssistant:",
                "system_prompt": "Be brief.",
                "image": PNG,
                "max_tokens": 100,
                "temperature": 0.5,
                "top_p": 0.9,
                "seed": 7,
                "stop_sequences": "END,STOP",
                "top_k": 5,
            }
        }
        assert received.path == "/v1/models/meta/codellama-70b-instruct/predictions"
        assert received.headers["authorization"] == f"Bearer {SECRET}"
        assert received.headers["prefer"] == "wait=1"

    @pytest.mark.parametrize("name", [VERSION, f"meta/llama:{VERSION}"])
    @WAYS
    async def test_a_version_is_called_by_its_id(self, adapter: Any, stub: Stub, name: str, way: str) -> None:
        said = await call(adapter, CompletionRequest(f"replicate/{name}", (Message("user", "a"),)), way)
        assert said.text
        assert stub.requests[0].path == "/v1/predictions"
        assert stub.requests[0].body["version"] == VERSION

    async def test_a_slow_prediction_is_polled(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(latency_s=3600))
        task = asyncio.create_task(adapter.complete(self.request()))
        assert await until(lambda: any(received.method == "GET" and received.answered_at for received in stub.requests))
        (made,) = self.slow_ones(stub)
        made.created_at -= 3600  # it ends
        said = await task
        assert said.text == "The quick brown fox jumps over the lazy dog."
        assert said.latency_s > 1.0, "it was waited for before it was polled"
        assert {received.method for received in stub.requests[1:]} == {"GET"}
        assert not made.cancelled

    @WAYS
    async def test_hardware_is_billed_by_the_second_where_its_price_is_known(self, stub: Stub, way: str) -> None:
        adapter = ReplicateAdapter(SECRET, base_url=stub.base_url("replicate"), usd_per_second={self.name: 0.001})
        stub.script(self.name, Scenario(latency_s=0.25))
        said = await call(adapter, self.request(), way)
        assert said.compute_s == 0.25
        assert said.cost_usd == pytest.approx(0.00025)
        other = await call(adapter, CompletionRequest("replicate/meta/other", (Message("user", "a"),)), way)
        assert other.cost_usd is None
        await adapter.close()

    @WAYS
    async def test_a_failed_prediction_has_its_error(self, adapter: Any, stub: Stub, way: str) -> None:
        for words, kind in (
            (f"CUDA out of memory while reading {PROMPT}", ProviderDown),
            ("NSFW content detected", ContentRefused),
            ("the prompt is too long for this model", ContextTooLong),
        ):
            stub.script(self.name, Scenario(text="", prediction_error=words))
            with pytest.raises(kind) as failed:
                await call(adapter, self.request(), way)
            keeps_secrets(failed.value)

    async def test_leaving_cancels_the_prediction(self, adapter: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.replicate._LEAVE_S", 60.0)  # a busy machine may take longer to say what is to be cancelled
        await adapter.complete(self.request())  # opens its connection
        stub.forget()
        stub.script(self.name, Scenario(latency_s=3600))
        with pytest.raises(ProviderTimeout):
            await adapter.complete(self.request(timeout_s=0.8))  # before the create has answered
        assert await until(lambda: [made.cancelled for made in self.slow_ones(stub)] == [True])
        task = asyncio.create_task(adapter.complete(self.request()))
        assert await until(lambda: any(received.method == "GET" for received in stub.requests))  # polling
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: [made.cancelled for made in self.slow_ones(stub)] == [True, True])

    async def test_leaving_a_stream_cancels_the_prediction(self, adapter: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.replicate._LEAVE_S", 60.0)
        await adapter.complete(self.request())
        stub.forget()
        stub.script(self.name, Scenario(latency_s=3600))
        with pytest.raises(ProviderTimeout):
            await collect(adapter, self.request(first_token_timeout_s=0.8))
        assert await until(lambda: [made.cancelled for made in self.slow_ones(stub)] == [True])


    async def test_a_piece_that_looks_like_a_link_stays_text(self, adapter: Any, stub: Stub) -> None:
        stub.script(self.name, Scenario(text="https://example.org/x data:text/plain,x"))
        *pieces, whole = await collect(adapter, self.request())
        assert pieces == [TextDelta("https://example.org/x"), TextDelta(" data:text/plain,x")]
        assert isinstance(whole, Completion)
        assert whole.text == "https://example.org/x data:text/plain,x"

    async def test_what_a_prompt_cannot_hold_is_rejected_before_it_is_sent(self, adapter: Any, stub: Stub) -> None:
        for facts, said in (
            ({"tools": (WEATHER,)}, "no tools"),
            ({"json_output": JsonOutput()}, "JSON"),
            ({"messages": (Message("user", (Image(PNG), Image(PNG))),)}, "one image"),
        ):
            messages = facts.pop("messages", ())  # type: ignore[attr-defined]
            with pytest.raises(RequestRejected, match=said):
                await adapter.complete(self.request(*messages, **facts))
        assert stub.requests == []
