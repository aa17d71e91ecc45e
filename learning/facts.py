"""What is published about a model before it is tried, and what that says of it."""

import math
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


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """What is published about a model before it is tried."""

    price_usd_per_mtok: float | None = None
    """Blend of the input and output price; None where unknown."""
    typical_latency_s: float | None = None
    """Seconds for a typical answer; None where unknown."""
    rating: float | None = None
    """Published rating on an Elo scale whose middle is 1250; None where unknown."""


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
