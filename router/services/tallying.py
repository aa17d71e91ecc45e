"""Keeps the tallies up with the log, a little behind it, so that a report reads sums instead of decisions."""

import asyncio

import structlog

from router.domain.events import Group
from router.errors import StorageUnavailable
from router.ports import TallyStore

_PAGE = 10_000
"""Log positions per transaction."""
_GATHER_S = 1.0
"""How long news is gathered: counting a hundred records costs the database little more than counting one."""
_BREATH_S = 0.02
"""Between two transactions of a long log, for those who write it."""
_RETRY_S = 5.0

log = structlog.get_logger("tallying")


class TallyService:
    """Follows the log. Lives on the event loop; the store counts in a thread."""

    def __init__(self, store: TallyStore, *, gather_s: float = _GATHER_S) -> None:
        self._store = store
        self._gather_s = gather_s
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.seq = 0
        """Log position up to which the log is known to be counted."""

    def notify(self, _group: Group) -> None:
        """Take note of a commit."""
        self._news.set()

    async def start(self) -> None:
        """Follow the log, from where it was left."""
        self._news.set()
        self._task = asyncio.create_task(self._follow(), name="pointsman-tallying")

    async def close(self) -> None:
        """Stop; the next start goes on from here."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def catch_up(self) -> None:
        """Count everything that is in the log now.

        Raises ``StorageUnavailable``.
        """
        while True:
            before, self.seq = self.seq, await asyncio.to_thread(self._store.count_on, _PAGE)
            if self.seq - before < _PAGE:
                return
            await asyncio.sleep(_BREATH_S)

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.catch_up()
                await asyncio.sleep(self._gather_s)
            except StorageUnavailable as exc:
                log.warning("tallying.log_unreadable", reason=exc.message)
                await asyncio.sleep(_RETRY_S)
                self._news.set()
