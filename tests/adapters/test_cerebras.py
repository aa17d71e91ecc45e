"""Cerebras, with the real ``openai`` SDK against the stub."""

from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from provider_contract import ProviderContract

from adapters.endpoints import ENDPOINTS
from router.testing import Stub


class TestCerebras(ProviderContract):
    provider = "cerebras"
    speaks = "openai"
    key_variable = "CEREBRAS_API_KEY"
    model = "cerebras/llama3.1-8b"

    async def test_what_it_refuses_is_left_out(self, adapter: Any, stub: Stub) -> None:
        extra = {"frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {"5": 1}, "service_tier": "auto", "user": "u"}
        await adapter.complete(self.request(max_output_tokens=9, extra=extra))
        assert set(stub.requests[0].body) == {"model", "messages", "max_completion_tokens", "user"}

    def test_where_it_is(self) -> None:
        assert ENDPOINTS["cerebras"].base_url == "https://api.cerebras.ai/v1"
