"""What a day's decisions may give up for the sake of learning, in points of quality and in dollars, over all services on the log."""

import asyncio
from collections.abc import Callable

from learning.choice import Restraint
from router.domain.spending import day_of
from router.domain.tallies import DAY_S
from router.ports import AllowanceStore
from router.services.follower import Follower

QUALITY, USD = "exploration_quality", "exploration_usd"
_DRAWN = 100
"""A service draws a hundredth of the day's allowance at a time: so much is lost at most where it is killed."""
_AHEAD_S = 3_600.0
"""How far ahead of the time of day the allowance may be drawn."""
_EVERY_S = 1.0
_NANO = 1_000_000_000


class AllowanceService:
    """Holds what it drew and decisions have not used: the database is asked beside them, never by them.

    Parameters
    ----------
    quality, usd : float, optional
        Of one day of UTC; None sets no limit.
    """

    def __init__(self, store: AllowanceStore, *, quality: float | None, usd: float | None, clock: Callable[[], float]) -> None:
        self._store = store
        self._most = {QUALITY: quality, USD: usd}
        self._held = {name: 0.0 for name, most in self._most.items() if most is not None}
        self._day = day_of(clock())
        self._clock = clock
        self._drawing = asyncio.Lock()
        self.follower = Follower("allowance", lambda: asyncio.sleep(_EVERY_S), self.draw, retry_s=_EVERY_S)

    def limits(self) -> Restraint:
        """What the next decision may give up: all that is held."""
        if self._clock() >= self._day + DAY_S:
            return Restraint(*(None if self._most[name] is None else 0.0 for name in (QUALITY, USD)))
        return Restraint(self._held.get(QUALITY), self._held.get(USD))

    def used(self, quality: float, usd: float) -> None:
        """Take note of what a decision gave up, in expectation."""
        for name, amount in ((QUALITY, quality), (USD, usd)):
            if name in self._held:
                self._held[name] = max(0.0, self._held[name] - amount)

    @property
    def standing(self) -> dict[str, tuple[float, float]]:
        """By name: what is held here, and the whole day's."""
        return {name: (held, self._most[name] or 0.0) for name, held in self._held.items()}

    async def limit(self, quality: float | None, usd: float | None) -> None:
        """Have other limits hold from now on: what was held of those before is put back. Raises ``StorageUnavailable``."""
        wanted = {QUALITY: quality, USD: usd}
        if wanted == self._most:
            return
        async with self._drawing:
            await self._put_back()
            self._most = wanted
            self._held = {name: 0.0 for name, most in wanted.items() if most is not None}
        await self.draw()

    async def drawn(self) -> dict[str, float]:
        """What all services drew today, by name. Raises ``StorageUnavailable``."""
        drawn = await asyncio.to_thread(self._store.allowances, day_of(self._clock()))
        return {name: drawn.get(name, 0) / _NANO for name in self._held}

    async def start(self) -> None:
        """Draw, and go on drawing.

        Raises ``StorageUnavailable``.
        """
        await self.draw()
        self.follower.start()

    async def close(self) -> None:
        """Put back what was not used."""
        await self.follower.close(self._put_back)

    async def _put_back(self) -> None:
        held, self._held = self._held, dict.fromkeys(self._held, 0.0)
        for name, amount in held.items():
            if unused := int(amount * _NANO):
                await asyncio.to_thread(self._store.change_allowance, name, self._day, -unused)

    async def draw(self) -> None:
        """Draw where less than half of a part is held. The day's allowance opens with the hours of the day.

        Raises ``StorageUnavailable``.
        """
        async with self._drawing:
            now = self._clock()
            if day_of(now) != self._day:
                self._day, self._held = day_of(now), dict.fromkeys(self._held, 0.0)
            open_share = min(1.0, (now - self._day + _AHEAD_S) / DAY_S)
            for name in self._held:
                most = self._most[name] or 0.0
                part = int(most * _NANO / _DRAWN)
                if part and self._held[name] * _NANO < part / 2:
                    drawn = await asyncio.to_thread(
                        self._store.draw_allowance, name, self._day, wanted=part, limit=int(open_share * most * _NANO)
                    )
                    self._held[name] += drawn / _NANO
