"""Paces a day's money over the requests of the day, from what the log says was spent: so it holds over restarts and for every replica."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from router.domain.spending import DayStanding, Exhausted, day_of, remaining_requests
from router.domain.tallies import DAY_S, HOUR_S, Tally
from router.ports import TallyStore
from router.services.follower import Follower

_READ_EVERY_S = 5.0

log = structlog.get_logger("spending")


class SpendingService:
    """The tallies say what is spent, of every service on the log; what is folded since they were read is added.

    Parameters
    ----------
    usd : float, optional
        Of one day of UTC; None sets no limit.
    aim : callable
        Takes what the next requests may cost on average, in USD.
    """

    def __init__(
        self, store: TallyStore, usd: float | None, *, exhausted: Exhausted, aim: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._usd = math.inf if usd is None else usd
        self._exhausted = exhausted
        self._aim = aim
        self._clock = clock
        self._day = day_of(clock())
        self._tallied_usd = 0.0
        self._seq = 0
        self._hours: dict[int, int] = {}
        self._since: deque[tuple[int, float]] = deque()
        """Log position and USD of what was folded after the tallies that were read."""
        self._since_usd = 0.0
        self._told: int | None = None
        """The day whose end of money was logged."""
        self.follower = Follower("spending", lambda: asyncio.sleep(_READ_EVERY_S), self._look, retry_s=_READ_EVERY_S)

    def paid(self, seq: int, usd: float) -> None:
        """Take note of what a call cost, from the log as it is folded."""
        if seq > self._seq:
            self._since.append((seq, usd))
            self._since_usd += usd

    async def limit(self, usd: float | None, exhausted: Exhausted) -> None:
        """Have another limit hold from now on; the tallies must be up to date where there was none. Raises ``StorageUnavailable``."""
        self._exhausted = exhausted
        if (math.inf if usd is None else usd) != self._usd:
            self._usd = math.inf if usd is None else usd
            self._told = None
        if usd is not None:
            await self.read()

    @property
    def day(self) -> DayStanding | None:
        """How the day stands; None where nothing limits it."""
        return None if self._usd == math.inf else self.standing

    async def look(self) -> DayStanding:
        """How the day stands, also where nothing limits it. Raises ``StorageUnavailable``."""
        if self._usd == math.inf:
            await self.read()
        return self.standing

    @property
    def standing(self) -> DayStanding:
        """How the day stands now."""
        now = self._clock()
        day = day_of(now)
        spent = (self._tallied_usd if day == self._day else 0.0) + self._since_usd
        requests = remaining_requests(self._hours, now)
        return DayStanding(self._usd, spent, requests, max(self._usd - spent, 0.0) / requests, float(day + DAY_S), self._exhausted)

    def spent(self) -> DayStanding | None:
        """How the day stands where its money is spent, else None."""
        if (self._tallied_usd if self._clock() < self._day + DAY_S else 0.0) + self._since_usd < self._usd:
            return None
        return self.standing

    async def start(self) -> None:
        """Read the tallies, which must be up to date, and follow them.

        Raises ``StorageUnavailable``.
        """
        if self._usd < math.inf:
            await self.read()
        self.follower.start()

    async def close(self) -> None:
        """Stop following."""
        await self.follower.close()

    async def read(self) -> None:
        """Bring this up to date with the tallies, and aim.

        Raises ``StorageUnavailable``.
        """
        day = day_of(self._clock())
        seq, lines = await asyncio.to_thread(self._tallied_since, float(day - DAY_S))
        self._day, self._seq, self._tallied_usd, self._hours = day, seq, 0.0, {}
        for line in lines:
            if line.start is not None:
                self._hours[line.start] = self._hours.get(line.start, 0) + line.sums.decisions
                self._tallied_usd += line.sums.cost_usd if line.start >= day else 0.0
        while self._since and self._since[0][0] <= self._seq:
            self._since.popleft()
        self._since_usd = sum(usd for _, usd in self._since)
        standing = self.standing
        if not standing.spent and self._usd < math.inf:
            self._aim(standing.usd_per_request)

    def _tallied_since(self, since: float) -> tuple[int, Sequence[Tally]]:
        """The tallies, and the position that they are of: what moved on between two looks would count twice."""
        seq = self._store.counted().seq
        while True:
            lines = self._store.tallies(HOUR_S, since, "time")
            before, seq = seq, self._store.counted().seq
            if seq == before:
                return seq, lines

    async def _look(self) -> None:
        if self._usd == math.inf:
            self._since.clear()  # the tallies will tell of it once somebody asks
            self._since_usd = 0.0
            return
        await self.read()
        if (standing := self.spent()) is not None and self._told != self._day:
            self._told = self._day
            log.warning("spending.budget_spent", budget_usd=self._usd, spent_usd=standing.spent_usd, then=self._exhausted.value)
