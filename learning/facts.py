"""What is published about a model before it is tried, and what that says of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learning.targets import Target

_TYPICAL_PRICE = 1.0
"""USD per million tokens at which the price says nothing about quality."""
_PRICE_LOG_SD = 1.5
"""Spread of log list prices over a catalogue."""
_TYPICAL_RATING = 1250.0
_RATING_UNIT = 100.0
"""Points of an Elo scale that one unit of the quality's covariate stands for."""
_PRICE_SHARE = 0.7
"""What a standard deviation of the price tells of quality, in units of a hundred points of rating."""
_OBSCURE = -0.5
"""The same for a model that has neither: rated models lie half a unit below the typical one on average."""
_TYPICAL_LATENCY_S = 3.0
_SAME_WEIGHTS = 0.9
"""Correlation of what is peculiar to the same weights at two hosts, who quantise and prompt a little differently. An assumption."""
_SAME_HOST = 0.5
"""Correlation of how far one host's models are slower or faster than published. An assumption."""


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """What is published about a model before it is tried."""

    price_usd_per_mtok: float | None = None
    """Blend of the input and output price; None where unknown."""
    typical_latency_s: float | None = None
    """Seconds for a typical answer; None where unknown."""
    rating: float | None = None
    """Published rating on an Elo scale whose middle is 1250; None where unknown."""
    weights: str | None = None
    """Which model it is, spelt alike at every host; None where unknown."""
    host: str | None = None
    """Who serves it; None where unknown."""


def _ability(facts: ArmFacts, dearness: float | None) -> float:
    """What price and rating say of quality together, in hundreds of rating points; nothing known is less than typical."""
    told = [] if dearness is None else [_PRICE_SHARE * dearness]
    if facts.rating is not None:
        told.append(max(-2.0, min(2.0, (facts.rating - _TYPICAL_RATING) / _RATING_UNIT)))
    return math.fsum(told) / len(told) if told else _OBSCURE


def covariate(target: Target, facts: ArmFacts | None) -> float:
    """g_m: what the published facts say about the target, 0 where they say nothing."""
    if facts is None:
        return 0.0
    price, latency = facts.price_usd_per_mtok, facts.typical_latency_s
    dearness = None if price is None else max(-2.0, min(2.0, math.log(max(price, 1e-6) / _TYPICAL_PRICE) / _PRICE_LOG_SD))
    if target is Target.QUALITY:
        return _ability(facts, dearness)
    if target is Target.COST and dearness is not None:
        return dearness
    if target is Target.LATENCY and latency is not None:
        return math.log(max(latency, 1e-3) / _TYPICAL_LATENCY_S)
    return 0.0


def likeness(target: Target) -> float:
    """Correlation of what is peculiar to two models of one kin."""
    return _SAME_HOST if target is Target.LATENCY else _SAME_WEIGHTS


def _kin(target: Target, facts: ArmFacts | None) -> str | None:
    if facts is None or target is Target.COST:
        return None
    return facts.host if target is Target.LATENCY else facts.weights


def elders(
    target: Target, models: Sequence[str], facts: Mapping[str, ArmFacts], joined: Mapping[str, float]
) -> dict[int, list[int]]:
    """Of every newcomer, the models of its kin that were there before it, as indices in the order of joining.

    Kin are the same weights at another host; for latency, the other models of the host.

    Parameters
    ----------
    joined : Mapping
        Labels that all models had together when a newcomer joined; models that are not in it were there from the start.
    """
    of: dict[str, list[int]] = {}
    for m, model in enumerate(models):
        if (kin := _kin(target, facts.get(model))) is not None:
            of.setdefault(kin, []).append(m)
    at = [joined.get(model, -math.inf) for model in models]
    found: dict[int, list[int]] = {}
    for kin_models in of.values():
        for m in kin_models:
            if before := [k for k in kin_models if at[k] < at[m]]:
                found[m] = before
    return dict(sorted(found.items(), key=lambda item: at[item[0]]))
