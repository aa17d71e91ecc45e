"""DeepInfra, with the real ``openai`` SDK against the stub."""

from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from provider_contract import WAYS, ProviderContract, call

from adapters.endpoints import ENDPOINTS
from router.testing import Scenario, Stub


class TestDeepInfra(ProviderContract):
    provider = "deepinfra"
    speaks = "openai"
    key_variable = "DEEPINFRA_API_KEY"
    model = "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct"

    @WAYS
    async def test_the_cost_that_it_reports_is_read(self, adapter: Any, stub: Stub, way: str) -> None:
        stub.script(self.name, Scenario(cost_usd=0.000123))
        assert (await call(adapter, self.request(), way)).cost_usd == 0.000123
        stub.script(self.name, Scenario())
        assert (await call(adapter, self.request(), way)).cost_usd is None

    async def test_it_has_its_own_name_for_the_limit(self, adapter: Any, stub: Stub) -> None:
        await adapter.complete(self.request(max_output_tokens=9))
        assert set(stub.requests[0].body) == {"model", "messages", "max_tokens"}
        assert stub.requests[0].path == "/v1/openai/chat/completions"

    def test_where_it_is(self) -> None:
        assert ENDPOINTS["deepinfra"].base_url == "https://api.deepinfra.com/v1/openai"
