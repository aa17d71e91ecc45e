"""Replicate, with the real SDK against the stub."""

import pytest

pytest.importorskip("replicate", reason="needs the extra replicate")

from provider_contract import ProviderContract


class TestReplicate(ProviderContract):
    provider = "replicate"
    speaks = "replicate"
    key_variable = "REPLICATE_API_TOKEN"
    model = "replicate/meta/codellama-70b-instruct"
    leaves_within_s = 2.0  # a create is given a moment to say which prediction to cancel
    unsupported = frozenset({"tools", "json", "cached"})
