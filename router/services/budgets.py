"""Has the limits on money hold, those of the settings and those set over them at run time, and says how they stand."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from learning.choice import Restraint
from learning.pacing import Pacer
from router.domain.budgets import Budgets, Limit, check, in_force, limits
from router.domain.decisions import is_imported
from router.domain.events import AttemptEvent, OutcomeEvent
from router.domain.overrides import BUDGET, Override
from router.domain.spending import Bills, DayStanding, Exhausted
from router.services.overrides import OverrideService

Paid = Callable[[AttemptEvent | OutcomeEvent], None]


class Spending(Protocol):
    """What shares out a day's money."""

    async def limit(self, usd: float | None, exhausted: Exhausted) -> None: ...

    def paid(self, seq: int, usd: float) -> None: ...

    def spent(self) -> DayStanding | None: ...

    async def look(self) -> DayStanding: ...


class Exploring(Protocol):
    """What limits a day's exploring."""

    async def limit(self, quality: float | None, usd: float | None) -> None: ...

    async def drawn(self) -> dict[str, float]: ...

    def limits(self) -> Restraint: ...

    def used(self, quality: float, usd: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How the limits stand."""

    limits: Mapping[str, Limit]
    today: DayStanding
    """Without a limit for the day, its budget is infinite."""
    aim_usd: float | None
    """What the next requests may cost on average; None where nothing limits that."""
    utility_per_usd: float
    """The price that this puts on money, on top of what requests value."""
    explored: Mapping[str, float]
    """By limit: what all services drew of it today."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What keeps the limits, each told what it needs."""

    spending: Spending
    exploring: Exploring
    decide_by: Callable[[Pacer | None, Spending | None, Exploring | None], None]
    """Takes those that limit something: what paces money, what shares out the day's, what limits exploring."""
    tell_paid: Callable[[Paid | None], None]
    """Takes whom to tell of every call that was paid."""
    count: Callable[[], Awaitable[None]]
    """Counts for the tallies whatever the log holds."""


class BudgetService:
    """The pacer keeps what requests cost on average: their own limit, or what the day's money leaves for each, whichever is less."""

    def __init__(self, base: Budgets, overrides: OverrideService, kept: Kept) -> None:
        self._base = base
        self._overrides = overrides
        self._kept = kept
        self._bills = Bills()
        self._pacer: Pacer | None = None
        self._held = Budgets()
        """Those that all parts are known to keep to."""
        self.limits = Budgets()
        """Those that hold."""
        overrides.use(BUDGET, self._use)

    async def change(self, values: Mapping[str, Any], key_id: str | None) -> None:
        """Set limits by name, over those of the settings, or lift those that are None.

        Raises ``TaskInvalid`` where they would contradict each other, ``StorageUnavailable``.
        """
        await self._overrides.change(BUDGET, values, key_id, lambda overrides: check(in_force(self._base, overrides)))

    async def standing(self) -> Standing:
        """How the limits stand now. Raises ``StorageUnavailable``."""
        return Standing(
            limits(self._base, self._overrides.latest(BUDGET)),
            await self._kept.spending.look(),
            None if self._pacer is None else self._pacer.budget,
            0.0 if self._pacer is None else self._pacer.utility_per_usd,
            {f"{name}_per_day": drawn for name, drawn in (await self._kept.exploring.drawn()).items()},
        )

    def aim(self, usd: float) -> None:
        """Have the next requests cost so much on average, as far as the day's money goes."""
        most = self.limits.usd_per_request
        if self._pacer is not None:
            self._pacer.aim(usd if most is None else min(usd, most))

    async def _use(self, overrides: Mapping[str, Override]) -> None:
        wanted, had, kept = in_force(self._base, overrides), self._held, self._kept
        self.limits = wanted
        self._pace(wanted, had)
        kept.tell_paid(None if self._pacer is None else self._paid)
        if wanted.usd_per_day is not None and had.usd_per_day is None:
            await kept.count()  # what was paid before now is read from the tallies, and told from now on
        await kept.spending.limit(wanted.usd_per_day, wanted.exhausted)
        await kept.exploring.limit(wanted.exploration_quality_per_day, wanted.exploration_usd_per_day)
        explores_freely = wanted.exploration_quality_per_day is None and wanted.exploration_usd_per_day is None
        kept.decide_by(self._pacer, None if wanted.usd_per_day is None else kept.spending, None if explores_freely else kept.exploring)
        self._held = wanted

    def _pace(self, wanted: Budgets, had: Budgets) -> None:
        budget = wanted.usd_per_day if wanted.usd_per_request is None else wanted.usd_per_request
        if budget is None:
            self._pacer = None
        elif self._pacer is None:
            self._pacer = Pacer(budget)
        elif wanted.usd_per_day is None and (wanted.usd_per_request, None) != (had.usd_per_request, had.usd_per_day):
            self._pacer.aim(budget)  # where the day has a limit, what shares it out aims

    def _paid(self, event: AttemptEvent | OutcomeEvent) -> None:
        if isinstance(event, OutcomeEvent) and is_imported(event.outcome.decision_id):
            return  # another gateway's money, of another day
        call = self._bills.called(event) if isinstance(event, AttemptEvent) else event.outcome.cost_usd
        if call is not None:
            self._kept.spending.paid(event.seq, call)
        if self._pacer is not None and isinstance(event, OutcomeEvent) and (whole := self._bills.ended(event)) is not None:
            self._pacer.settle(whole)
