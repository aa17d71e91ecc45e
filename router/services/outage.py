"""Goes on deciding for a while where the log cannot be reached: the ``degraded`` mode, which an operator chooses over refusing.

A decision that the log did not take is told as such: its id begins with ``unlogged_``, nothing is learned from it, and what is reported
about it is refused. The log itself comes back by itself, and with it the ordinary ids.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from router.domain.decisions import Decision, is_unlogged
from router.domain.events import Attempt, Committed, Outcome, Write
from router.errors import StorageUnavailable

PATIENCE_S = 2.0
"""How long a decision waits for a log that says nothing."""

log = structlog.get_logger("outage")


class LogWriter(Protocol):
    """The writer in front of the log."""

    def check(self) -> None:
        """Raise what ``submit`` would raise now."""
        ...

    def submit(self, record: Write, *, lazy: bool = False) -> asyncio.Future[Committed]:
        """Take a record; the future is done when it is durable."""
        ...


class OutageWriter:
    """A writer that answers for the log while it is away, for at most ``at_most_s``. Lives on one event loop."""

    def __init__(self, writer: LogWriter, *, at_most_s: float, monotonic: Callable[[], float]) -> None:
        self._writer = writer
        self._at_most_s = at_most_s
        self._monotonic = monotonic
        self._since: float | None = None

    @property
    def bearing(self) -> bool:
        """Whether the log is away and decisions are taken all the same."""
        return self._since is not None and self._monotonic() - self._since <= self._at_most_s

    async def write(self, record: Write) -> Committed:
        """As ``submit``, awaited."""
        return await self.submit(record)

    def check(self) -> None:
        """As the writer's."""
        self._writer.check()

    def submit(self, record: Write, *, lazy: bool = False) -> asyncio.Future[Committed]:
        """As the writer's; a decision that the log does not take is done with ``seq`` 0."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Committed] = loop.create_future()
        if isinstance(record, Attempt | Outcome) and is_unlogged(record.decision_id):
            told.set_result(Committed(0, record.decision_id))
            return told
        taken = self._writer.submit(record, lazy=lazy)
        if not isinstance(record, Decision):
            return taken
        unlogged = Committed(0, record.id)

        def give_up() -> None:
            if not told.done() and self._bears():
                told.set_result(unlogged)

        patience = loop.call_later(PATIENCE_S, give_up)

        def settle(done: asyncio.Future[Committed]) -> None:
            patience.cancel()
            fault = None if done.cancelled() else done.exception()
            if fault is None and not done.cancelled():
                self._back()
            if told.done():
                return
            if done.cancelled():
                told.cancel()
            elif fault is None:
                told.set_result(done.result())
            elif isinstance(fault, StorageUnavailable) and self._bears():
                told.set_result(unlogged)
            else:
                told.set_exception(fault)

        taken.add_done_callback(settle)
        return told

    def _bears(self) -> bool:
        if self._since is None:
            self._since = self._monotonic()
            log.warning("outage.began", at_most_s=self._at_most_s, effect="decisions are taken and not logged")
        return self.bearing

    def _back(self) -> None:
        if self._since is not None:
            log.info("outage.ended", after_s=round(self._monotonic() - self._since, 1))
            self._since = None
