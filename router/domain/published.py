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
    (r"^gemma(\d)", r"gemma-\1"),
    (r"^c4ai-", ""),
    (r"^code-llama", "codellama"),
    (r"^claude-v1$", "claude-1"),
    (r"^claude-v2$", "claude-2-0"),
    (r"^claude-instant-v1$", "claude-instant-1"),
    (r"^(?!gpt|qwen-)(.+)-turbo$", r"\1"),  # a faster way to serve the same weights
)
_PACKED = re.compile(r"(-(q\d(-[k01])?(-[sml])?|quantized|gguf|awq|gptq|nf4|int[48]|w\d+a\d+))+$")
"""How weights were quantised, at the end of the names of local servers."""
_UNDATED = re.compile(r"(-(\d{3,8}(-\d\d){0,2}|\d\d-\d{4}|\d\d-\d\d|v0-\d|preview|latest|exp))+$")
"""Dates and stages at the end of a name."""
_DATES = (
    re.compile(r"-(?P<y>20\d\d)-?(?P<m>0[1-9]|1[0-2])(-?\d\d)?(?=-|$)"),
    re.compile(r"-(?P<m>0[1-9]|1[0-2])-(?P<y>20\d\d)(?=-|$)"),
    re.compile(r"-(?P<y>2[3-9])(?P<m>0[1-9]|1[0-2])(?=-|$)"),
)
"""Ways of writing year and month in a name."""
_SAME_MODEL_MONTHS = 6
"""Between two versions of a name that may stand for each other: makers keep the name for what comes years later."""


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
    return "-".join(word for word in _PACKED.sub("", spelt).split("-") if word not in _DROPPED)


def _month(name: str) -> int | None:
    """Months since the year 2000 of the date in a canonical name; None where it tells no year and month."""
    found = next((match for pattern in _DATES if (match := pattern.search(name))), None)
    return None if found is None else 12 * (int(found["y"]) % 2000) + int(found["m"]) - 1


@cache
def _ratings() -> tuple[dict[str, float], dict[str, list[tuple[str, float]]]]:
    """By canonical name, and those of one model's versions by the name without a date."""
    text = files("router.catalog_data").joinpath("arena.toml").read_text("utf-8")
    exact = {name: float(rating) for name, rating in tomllib.loads(text)["ratings"].items()}
    versions: dict[str, list[tuple[str, float]]] = {}
    for name, rating in exact.items():
        versions.setdefault(_UNDATED.sub("", name), []).append((name, rating))
    return exact, versions


def arena_rating(name: str) -> float | None:
    """Published rating (Elo scale) of a model, of its other versions where only those were rated, else None.

    A version that names its month takes the rating of the nearest one that does, if it is of the same half-year; any other the mean of all.

    Examples
    --------
    >>> arena_rating("openai/gpt-4o-2024-08-06"), arena_rating("nobody/heard-of-it")
    (1285.0, None)
    """
    exact, versions = _ratings()
    found = canonical(name)
    if found in exact:
        return exact[found]
    rated, month = versions.get(_UNDATED.sub("", found), []), _month(found)
    dated = [(abs(at - month), rating) for version, rating in rated if month is not None and (at := _month(version)) is not None]
    if dated:
        apart, rating = min(dated)
        return rating if apart <= _SAME_MODEL_MONTHS else None
    return fmean(rating for _, rating in rated) if rated else None
