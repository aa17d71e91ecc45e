"""Anthropic, with the real SDK against the stub."""

import pytest

pytest.importorskip("anthropic", reason="needs the extra anthropic")

from provider_contract import ProviderContract


class TestAnthropic(ProviderContract):
    provider = "anthropic"
    speaks = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    model = "anthropic/claude-3-5-haiku"
