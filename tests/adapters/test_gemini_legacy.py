"""Gemini by the old SDK, with the real SDK against the stub. It needs an environment of its own: it holds protobuf below 6."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # it announces its end
    pytest.importorskip("google.generativeai", reason="needs the extra gemini-legacy, in an environment of its own")

from provider_contract import ProviderContract


class TestGeminiLegacy(ProviderContract):
    provider = "google-legacy"
    speaks = "gemini"
    key_variable = "GEMINI_API_KEY"
    model = "google-legacy/gemini-1.5-pro"
    priced = "google/gemini-1.5-pro"
    unsupported = frozenset({"reasoning", "ids"})  # the old SDK shows neither
