"""Builds what decided once, from what the log keeps of it, to be asked again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from learning.arrays import FloatArray
from learning.choice import Restraint
from learning.posterior import Posterior
from router.domain.catalog import Catalog
from router.domain.events import Committed, Regime, Write
from router.domain.ids import new_id
from router.domain.routing_rules import RoutingRules
from router.domain.spending import DayStanding, Exhausted
from router.errors import StorageUnavailable
from router.services.routing import RoutingService


def decide_again(
    regime: Regime,
    unavailable: Mapping[str, str],
    posterior: Callable[[], Posterior],
    *,
    clock: Callable[[], float] = time.time,
    name: Callable[[str], str] = new_id,
    draw: Callable[[str], int] | None = None,
    money: Callable[[], float] = lambda: 0.0,
    spent: bool = False,
    allowed: Restraint | None = None,
) -> RoutingService | None:
    """What decided under a regime; it writes nothing. None where a release that decided otherwise logged the regime.

    ``clock``, ``name`` and ``draw`` say when, under which id and with which draw it decides, ``money`` what a budget made a dollar cost,
    ``spent`` that the day's money was, ``allowed`` what was left then of the allowance for exploring.
    """
    kept = {name: value for name, value in regime.policy.items() if name != "pins"}  # what a rules file said was not drawn
    if kept.keys() != {field.name for field in fields(RoutingRules)} - {"salt", "pins"}:
        return None
    rules = RoutingRules(**(kept | {"trusted_judges": tuple(kept["trusted_judges"])}), salt=b"")
    routing = RoutingService(
        _NoLog(),
        rules,
        posterior=posterior,
        clock=clock,
        new_id=name,
        draw=draw,
        money=_AsLogged(money),
        purse=_Purse(spent),
        allowance=None if allowed is None else _Allowed(allowed),
    )
    routing.use_catalog(Catalog(regime.models))
    routing.use_unavailable(unavailable)
    return routing


@dataclass(frozen=True, slots=True)
class _AsLogged:
    """The price of money that a decision was taken with."""

    logged: Callable[[], float]

    @property
    def utility_per_usd(self) -> float:
        return self.logged()

    def price(self, utility: FloatArray, sd: FloatArray, cost: FloatArray) -> float:
        del utility, sd, cost
        return self.logged()


@dataclass(frozen=True, slots=True)
class _Purse:
    """Whether the day's money was spent."""

    empty: bool

    def spent(self) -> DayStanding | None:
        return DayStanding(0.0, 0.0, 0.0, 0.0, 0.0, Exhausted.CHEAPEST) if self.empty else None


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What a decision was allowed to give up."""

    left: Restraint

    def limits(self) -> Restraint:
        return self.left

    def used(self, quality: float, usd: float) -> None:
        del quality, usd


class _NoLog:
    """Stands where a running service has its log."""

    async def write(self, record: Write) -> Committed:
        del record
        raise StorageUnavailable("what is decided again is not logged")
