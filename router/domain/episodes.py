"""Whether an episode stays with its last model: where no other is worth losing the prompt cache for."""

from dataclasses import dataclass
from typing import Any

from learning.choice import Preference
from learning.policies import Beliefs
from router.domain.eligibility import usd
from router.domain.models import Price

LEAST_CACHED_TOKENS = 1024
"""Providers cache no shorter prompts."""
CACHED_FOR_S = 300.0
"""Most providers forget a prompt that was not used for longer."""


@dataclass(frozen=True, slots=True)
class Last:
    """An episode's last answered call."""

    model: str
    at: float
    """Unix time in seconds."""
    context_tokens: int
    """Of its prompt: about what the provider can have cached."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The decision to stay: it follows from the log, so its propensity is 1 and it is forced."""

    index: int
    reason: str
    told: dict[str, Any]
    """For the log."""


def keep(last: Last, about: Beliefs, price: Price | None, context_tokens: int, preference: Preference, now: float) -> Kept | None:
    """Stay with the last model where the gain of the best one, in utility, is at most what the cached prompt saves; else None.

    Without a known discount on cached input nothing is lost by leaving, so the policy draws as always.
    """
    if price is None or price.cached_input_usd_per_mtok is None or now - last.at > CACHED_FOR_S:
        return None
    cached = min(last.context_tokens, context_tokens)
    if cached < LEAST_CACHED_TOKENS:
        return None
    saved_usd = 1e-6 * cached * (price.input_usd_per_mtok - price.cached_input_usd_per_mtok)
    saving = preference.cost_per_usd * saved_usd
    index = list(about.models).index(last.model)
    gain = float(about.mean.max() - about.mean[index])
    if saving <= 0 or gain > saving:
        return None
    reason = f"stays with the episode's model: its cached prompt saves {usd(saved_usd)}, and no other gains as much ({gain:.4f} utility)"
    return Kept(index, reason, {"cached_tokens": cached, "saving": saving, "gain": gain})
