"""Providers that speak OpenAI's chat completions: rows of data, for the one adapter that serves them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible API and how it departs from the original."""

    name: str
    base_url: str
    key_variables: tuple[str, ...] = ()
    """Where its key is found, the first that is set; none: it asks for no key."""
    limit_field: str = "max_completion_tokens"
    """What it calls the limit of output tokens."""
    reports_stream_usage: bool = True
    """It takes ``stream_options.include_usage``."""
    cost_field: str | None = None
    """Where in ``usage`` it says what the call cost, in USD."""
    not_taken: frozenset[str] = field(default_factory=frozenset)
    """Fields of OpenAI's that it answers with an error, so they are left out."""


OPENAI = Endpoint("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",))
CEREBRAS = Endpoint(
    "cerebras",
    "https://api.cerebras.ai/v1",
    ("CEREBRAS_API_KEY",),
    not_taken=frozenset({"frequency_penalty", "logit_bias", "presence_penalty", "service_tier"}),
)
DEEPINFRA = Endpoint(
    "deepinfra",
    "https://api.deepinfra.com/v1/openai",
    ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
    limit_field="max_tokens",
    cost_field="estimated_cost",
)
ENDPOINTS: Mapping[str, Endpoint] = {row.name: row for row in (OPENAI, CEREBRAS, DEEPINFRA)}
"""The rows that ship. Any other base URL is one more row."""


def sendable(value: str) -> bool:
    """Whether a header can carry it: a line break would begin another one."""
    return value.isascii() and value.isprintable()
