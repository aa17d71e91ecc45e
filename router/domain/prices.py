"""What a call costs, and which price was in force when: unknown stays unknown and is never zero."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf

from router.domain.events import CostSource, Outcome
from router.domain.models import Model, Price

STALE_DAYS = 180
"""A price that nobody has checked for longer is marked."""

_PER_TOKEN = 1e-6


@dataclass(frozen=True, slots=True)
class Billed:
    """What a call is billed for. Input includes what was cached or wrote the cache; output includes the reasoning."""

    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    hardware_s: float | None = None


@dataclass(frozen=True, slots=True)
class Dated:
    """A price from Unix time ``since`` on; None = unknown from then on."""

    since: float
    price: Price | None


def cost_of(price: Price | None, billed: Billed) -> float | None:
    """The cost in USD; None where the price, or something that it bills, is unknown."""
    if price is None:
        return None
    total = 0.0
    if price.usd_per_hardware_s is not None:
        if billed.hardware_s is None:
            return None
        total += price.usd_per_hardware_s * billed.hardware_s
    if price.input_usd_per_mtok or price.output_usd_per_mtok:
        if billed.input_tokens is None or billed.output_tokens is None:
            return None
        cached = min(billed.cached_input_tokens, billed.input_tokens)
        written = min(billed.cache_write_tokens, billed.input_tokens - cached)
        reasoned = min(billed.reasoning_tokens, billed.output_tokens)
        total += _PER_TOKEN * (
            (billed.input_tokens - cached - written) * price.input_usd_per_mtok
            + cached * _rate(price.cached_input_usd_per_mtok, price.input_usd_per_mtok)
            + written * _rate(price.cache_write_usd_per_mtok, price.input_usd_per_mtok)
            + (billed.output_tokens - reasoned) * price.output_usd_per_mtok
            + reasoned * _rate(price.reasoning_usd_per_mtok, price.output_usd_per_mtok)
        )
    return total + (price.usd_per_image or 0.0) * billed.images


def billed(outcome: Outcome) -> Billed:
    """What the log knows of a call."""
    return Billed(
        outcome.input_tokens,
        outcome.output_tokens,
        outcome.cached_input_tokens or 0,
        outcome.cache_write_tokens or 0,
        outcome.reasoning_tokens or 0,
        outcome.images or 0,
        outcome.hardware_s,
    )


def recosted(outcome: Outcome, cost_usd: float | None) -> Outcome:
    """The outcome with its cost computed anew."""
    return replace(outcome, cost_usd=cost_usd, cost_source=None if cost_usd is None else CostSource.COMPUTED)


def token_rates(price: Price | None) -> tuple[float, float] | None:
    """Input and output in USD per million tokens; None where the tokens do not tell the cost."""
    return None if price is None or price.usd_per_hardware_s is not None else (price.input_usd_per_mtok, price.output_usd_per_mtok)


def timeline(base: Model | None, versions: Sequence[tuple[float, Model]]) -> tuple[Dated, ...]:
    """Every price that was ever recorded, in the order in which it was learned.

    ``base`` is the model as it ships or as the operator's file has it, ``versions`` what was saved since, with the time of saving. A
    price holds from its own date; a saved one without a date from the moment it was saved, any other since ever.
    """
    known = [] if base is None else [Dated(_since(base.price, -inf), base.price)]
    last = base.price if base is not None else None
    for at, model in versions:
        if not known or model.price != last:
            known.append(Dated(_since(model.price, at), model.price))
            last = model.price
    return tuple(known)


def price_at(known: Sequence[Dated], at: float) -> Price | None:
    """The price in force at Unix time ``at``: of those whose date had come, the one that was learned last."""
    dated = in_force(known, at)
    return None if dated is None else dated.price


def in_force(known: Sequence[Dated], at: float) -> Dated | None:
    """The same with its date; None where nothing was known yet."""
    return next((dated for dated in reversed(known) if dated.since <= at), None)


def moment(text: str) -> float | None:
    """The Unix time of an ISO date or time (UTC where it names no zone); None where it is neither."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def age_days(price: Price, now: float) -> int | None:
    """Days since the price was checked, or since it holds where nobody says; None where neither is known."""
    read = moment(price.checked or price.effective_from)
    return None if read is None else max(0, int((now - read) // 86_400))


def _since(price: Price | None, otherwise: float) -> float:
    dated = moment(price.effective_from) if price is not None and price.effective_from else None
    return otherwise if dated is None else dated


def _rate(own: float | None, general: float) -> float:
    return general if own is None else own
