"""Keeps the tallies up with the log, a little behind it, so that a report reads sums instead of decisions."""

import asyncio

from router.domain.events import Group
from router.ports import TallyStore
from router.services.follower import Follower

_PAGE = 10_000
"""Log positions per transaction."""
_GATHER_S = 1.0
"""How long news is gathered: counting a hundred records costs the database little more than counting one."""
_BREATH_S = 0.02
"""Between two transactions of a long log, for those who write it."""
_RETRY_S = 5.0


class TallyService:
    """Follows the log. Lives on the event loop; the store counts in a thread."""

    def __init__(self, store: TallyStore, *, gather_s: float = _GATHER_S) -> None:
        self._store = store
        self._gather_s = gather_s
        self._news = asyncio.Event()
        self.follower = Follower("tallying", self._hear, self._count, retry_s=_RETRY_S)
        self.seq = 0
        """Log position up to which the log is known to be counted."""

    def notify(self, _group: Group) -> None:
        """Take note of a commit."""
        self._news.set()

    async def start(self) -> None:
        """Follow the log, from where it was left."""
        self._news.set()
        self.follower.start()

    async def close(self) -> None:
        """Stop; the next start goes on from here."""
        await self.follower.close()

    async def catch_up(self) -> None:
        """Count everything that is in the log now.

        Raises ``StorageUnavailable``.
        """
        while True:
            before, self.seq = self.seq, await asyncio.to_thread(self._store.count_on, _PAGE)
            if self.seq - before < _PAGE:
                return
            await asyncio.sleep(_BREATH_S)

    async def _hear(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _count(self) -> None:
        await self.catch_up()
        await asyncio.sleep(self._gather_s)
