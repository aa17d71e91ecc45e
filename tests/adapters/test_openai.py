"""OpenAI, with the real SDK against the stub."""

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from provider_contract import ProviderContract


class TestOpenAI(ProviderContract):
    provider = "openai"
    speaks = "openai"
    key_variable = "OPENAI_API_KEY"
    model = "openai/gpt-4o"
