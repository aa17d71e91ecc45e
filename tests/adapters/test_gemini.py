"""Gemini, with the real SDK against the stub."""

import pytest

pytest.importorskip("google.genai", reason="needs the extra gemini")

from provider_contract import ProviderContract


class TestGemini(ProviderContract):
    provider = "google"
    speaks = "gemini"
    key_variable = "GEMINI_API_KEY"
    model = "google/gemini-2.0-flash"
