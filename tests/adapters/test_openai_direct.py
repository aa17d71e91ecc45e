"""OpenAI's wire format carried without the SDK: the same promises, and the same bytes out."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from provider_contract import SECRET, WEATHER, collect
from test_openai import TestOpenAI as BySdk

from adapters import openai_direct, registry
from adapters.endpoints import Endpoint
from adapters.errors import AdapterUnavailable, ProviderDown
from adapters.openai_calls import Client
from adapters.types import Timeouts
from router.testing import Scenario, Stub


class TestOpenAIDirect(BySdk):
    options = {"client": Client.DIRECT}  # noqa: RUF012 - read, never changed

    async def test_the_account_comes_from_the_environment(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
        by_sdk = registry.build("openai", environ={"OPENAI_API_KEY": SECRET}, base_url=stub.base_url("openai"))
        for adapter in (by_sdk, self.built(stub.base_url("openai"))):
            await adapter.complete(self.request(tools=(WEATHER,)))
            await adapter.close()
        one, other = ({k: v for k, v in r.headers.items() if k.startswith("openai-") or k == "authorization"} for r in stub.requests)
        assert one == other
        assert stub.requests[0].body == stub.requests[1].body
        assert one["openai-organization"] == "org-1"

    def test_an_account_that_no_header_can_carry_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org\n1")
        with pytest.raises(AdapterUnavailable, match="OPENAI_ORG_ID"):
            self.built("http://127.0.0.1:1")

    async def test_a_stream_that_ends_gives_its_connection_back(self, adapter: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openai_direct, "_ENDING_S", 30.0)  # a busy machine may take longer than the moment that callers are kept for
        stub.script(self.name, Scenario(text="a b c", chunk_delay_s=0.01))
        for _ in range(3):
            await collect(adapter, self.request())
        assert len({received.client_port for received in stub.requests}) == 1

    async def test_a_proxy_of_the_environment_is_used(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[bytes] = []

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readline())
            writer.close()

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        entry = registry.with_endpoints([Endpoint("far", "http://far.example/v1")])["far"]
        entries = {"far": replace(entry, options={**entry.options, **self.options})}
        adapter = registry.build("far", environ={}, entries=entries, timeouts=Timeouts(total_s=60.0))
        with pytest.raises(ProviderDown):
            await adapter.complete(self.request())
        assert asked == [b"POST http://far.example/v1/chat/completions HTTP/1.1\r\n"]
        await adapter.close()
        server.close()
