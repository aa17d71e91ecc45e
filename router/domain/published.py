"""What is published of a model's ability before it is tried: a rating found by its name, whoever hosts it.

Hosts write one model in many ways (``meta-llama/Meta-Llama-3.1-70B-Instruct``, ``llama3.1-70b``); ``canonical`` brings them together.
"""

import re
import tomllib
from functools import cache
from importlib.resources import files
from statistics import fmean

_DROPPED = frozenset({"instruct", "chat", "it", "hf", "fp8", "bf16", "tee", "meta"})
"""Words that say how weights were tuned or stored, not which model it is."""
_SPELLINGS = (
    (r"^(?:meta-)?llama(\d)", r"llama-\1"),
    (r"^c4ai-", ""),
    (r"^code-llama", "codellama"),
    (r"^claude-v1$", "claude-1"),
    (r"^claude-v2$", "claude-2-0"),
    (r"^claude-instant-v1$", "claude-instant-1"),
    (r"^(?!gpt|qwen-)(.+)-turbo$", r"\1"),  # a faster way to serve the same weights
)
_UNDATED = re.compile(r"(-(\d{3,8}(-\d\d){0,2}|\d\d-\d{4}|\d\d-\d\d|v0-\d|preview|latest|exp))+$")
"""Dates and stages at the end of a name."""


def canonical(name: str) -> str:
    """The name without its host, spelt alike everywhere.

    Examples
    --------
    >>> canonical("deepinfra/meta-llama/Meta-Llama-3.1-70B-Instruct"), canonical("cerebras/llama3.1-70b")
    ('llama-3-1-70b', 'llama-3-1-70b')
    """
    spelt = re.sub(r"[^a-z0-9+]+", "-", name.lower().rsplit("/", 1)[-1]).replace("+", "-plus").strip("-")
    for pattern, written in _SPELLINGS:
        spelt = re.sub(pattern, written, spelt)
    return "-".join(word for word in spelt.split("-") if word not in _DROPPED)


@cache
def _ratings() -> tuple[dict[str, float], dict[str, float]]:
    """By canonical name, and the means over the dated versions of one model."""
    text = files("router.catalog_data").joinpath("arena.toml").read_text("utf-8")
    exact = {name: float(rating) for name, rating in tomllib.loads(text)["ratings"].items()}
    versions: dict[str, list[float]] = {}
    for name, rating in exact.items():
        versions.setdefault(_UNDATED.sub("", name), []).append(rating)
    return exact, {name: fmean(ratings) for name, ratings in versions.items()}


def arena_rating(name: str) -> float | None:
    """Published rating (Elo scale) of a model, of its other versions where only those were rated, else None.

    Examples
    --------
    >>> arena_rating("openai/gpt-4o-2024-08-06"), arena_rating("nobody/heard-of-it")
    (1285.0, None)
    """
    exact, versions = _ratings()
    found = canonical(name)
    return exact.get(found, versions.get(_UNDATED.sub("", found)))
