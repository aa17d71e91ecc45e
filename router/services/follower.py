"""A loop beside requests that outlives what goes wrong in it, and says that it does.

It waits for its turn and takes a step, over and over. A step that fails is taken again after a pause: the same pause while the database
is away, longer and longer ones after a fault of ours. Either is logged, and told in ``/readyz`` and to Prometheus until a step succeeds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from router.errors import StorageUnavailable

MOST_PAUSE_S = 60.0

log = structlog.get_logger("follower")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Steps that failed without one in between that did not."""

    error: str
    """Name of the class; the message may quote what somebody sent."""
    since: float
    """On the event loop's clock."""
    times: int


class Follower:
    """Lives on the event loop.

    Parameters
    ----------
    name : str
        Of the part that it keeps going.
    turn : callable
        Returns when there may be something to do.
    step : callable
        Does it; safe to be taken again after it has failed half-way.
    retry_s : float
        The first pause.
    """

    def __init__(self, name: str, turn: Callable[[], Awaitable[None]], step: Callable[[], Awaitable[None]], *, retry_s: float) -> None:
        self.name = name
        self.trouble: Trouble | None = None
        """None while all is well."""
        self.failures = 0
        """Steps that failed since the start."""
        self._turn = turn
        self._step = step
        self._retry_s = retry_s
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and not closed."""
        return self._task is not None

    def start(self) -> None:
        """Begin, with a turn."""
        self._task = asyncio.create_task(self._follow(), name=f"pointsman-{self.name}")

    async def close(self, last: Callable[[], Awaitable[None]] | None = None) -> None:
        """Stop, and do what is to be done at the end by one that was running; if that fails, it is logged."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if last is not None:
            await self._fault_of(last)

    def troubled_for_s(self) -> float:
        """Seconds since the first failure of those that ``trouble`` tells of."""
        return 0.0 if self.trouble is None else asyncio.get_running_loop().time() - self.trouble.since

    async def _follow(self) -> None:
        while True:
            await self._turn()
            pause_s = self._retry_s
            while (fault := await self._fault_of(self._step)) is not None:
                await asyncio.sleep(pause_s)
                if not isinstance(fault, StorageUnavailable):
                    pause_s = min(2.0 * pause_s, max(MOST_PAUSE_S, self._retry_s))

    async def _fault_of(self, step: Callable[[], Awaitable[None]]) -> Exception | None:
        try:
            await step()
        except StorageUnavailable as exc:
            self._note(exc)
            log.warning("follower.database_away", part=self.name, reason=exc.message)
            return exc
        except Exception as exc:  # a loop that ends goes unnoticed, and the service goes on with what is out of date
            self._note(exc)
            log.error("follower.failed", part=self.name, failures=self.failures, exc_info=exc)
            return exc
        if self.trouble is not None:
            log.info("follower.recovered", part=self.name, times=self.trouble.times)
            self.trouble = None
        return None

    def _note(self, exc: Exception) -> None:
        self.failures += 1
        now = asyncio.get_running_loop().time()
        since, times = (now, 0) if self.trouble is None else (self.trouble.since, self.trouble.times)
        self.trouble = Trouble(type(exc).__name__, since, times + 1)
