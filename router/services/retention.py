"""Keeps the log from growing without end, where the operator set how long it is kept: small batches, by one service of those on the log."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from router.services.follower import Follower

_DAY_S = 86_400.0
_EVERY_S = 3_600.0
_FIRST_S = 60.0
_MANY = 500
"""Decisions in one transaction: who writes waits no longer for it than for a commit of others."""
_BREATH_S = 0.05

log = structlog.get_logger("retention")


class PrunableStore(Protocol):
    """A log whose beginning can be removed."""

    def prune(self, before: float, after_seq: int, many: int) -> tuple[int, int | None]:
        """Remove up to ``many`` decisions taken before a time, after a position; how many went, and where to go on, None at the end."""
        ...


class RetentionService:
    """Removes decisions older than ``days`` with all that belongs to them. Lives on the event loop."""

    def __init__(self, store: PrunableStore, *, days: float, leads: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._store = store
        self._kept_s = days * _DAY_S
        self._leads = leads
        self._clock = clock
        self._wait_s = _FIRST_S
        self.follower = Follower("retention", self._turn, self._prune, retry_s=_FIRST_S)

    async def start(self) -> None:
        """Begin, a little after everything else."""
        self.follower.start()

    async def close(self) -> None:
        """Stop; the next start goes on from here."""
        await self.follower.close()

    async def prune(self) -> int:
        """Remove what is due now; how many decisions went.

        Raises ``StorageUnavailable``.
        """
        before, place, gone = self._clock() - self._kept_s, 0, 0
        while True:
            removed, following = await asyncio.to_thread(self._store.prune, before, place, _MANY)
            gone += removed
            if following is None:
                return gone
            place = following
            await asyncio.sleep(_BREATH_S)

    async def _turn(self) -> None:
        await asyncio.sleep(self._wait_s)
        self._wait_s = _EVERY_S

    async def _prune(self) -> None:
        if self._leads() and (gone := await self.prune()):
            log.info("retention.removed", decisions=gone)
