"""Group commit: one thread writes whatever has queued up while its last commit ran, and everyone waits for durability, not for a turn.

The thread is woken as rarely as can be, and only once the loop has done what it is at: a thread that wakes takes the interpreter from
the loop for as long as it prepares its commit, and a provider's call that is about to be sent would wait for that.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from router.domain.events import Committed, Group, Write, group_of
from router.errors import Overloaded, RouterError, StorageUnavailable
from router.ports import Store

Waiting = tuple[Write, asyncio.Future[Committed]]

RETRY_AFTER_S = 1.0
LAZY_S = 0.02
"""How long a record that nobody waits for may lie in memory."""


class GroupCommitWriter:
    """Commits writes in the order they are accepted. Lives on one event loop; owns one thread.

    ``on_commit`` is called on the loop after each group that added to the log, ``on_written`` for each record that it added.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_queue: int = 10_000,
        max_group: int = 512,
        linger_s: float = 0.0,
        lazy_s: float = LAZY_S,
        on_commit: Callable[[Group], None] | None = None,
    ) -> None:
        self.on_commit = on_commit
        self.on_written: Callable[[Write], None] | None = None
        self._store = store
        self._max_queue = max_queue
        self._max_group = max_group
        self._linger_s = linger_s
        self._lazy_s = lazy_s
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()  # None: nothing follows
        self._left: list[Waiting] = []
        """Of the thread: what did not fit into the last group."""
        self._last = False
        """Of the thread: nothing follows that."""
        self._taken: list[Waiting] = []
        """Not handed over to the thread yet."""
        self._due: asyncio.Handle | None = None
        """Will hand them over."""
        self._lazily = False
        """In no hurry."""
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = asyncio.Event()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Writes accepted and not yet answered."""
        return self._waiting

    async def start(self) -> None:
        """Start the thread; once."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        # a daemon, so that a process that dies without close() is not held up: what it never acknowledged may be lost
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="log-writer", daemon=True)
        self._thread.start()

    async def write(self, record: Write) -> Committed:
        """Return once the record is durable.

        A caller that is cancelled while waiting leaves the record to be committed all the same.

        Raises ``Overloaded`` where the queue is full, ``StorageUnavailable``, and what the store refuses the record with.
        """
        return await self.submit(record)

    def submit(self, record: Write, *, lazy: bool = False) -> asyncio.Future[Committed]:
        """Take a record in its turn, at once; the future is done when it is durable. Raises and fails as ``write`` does.

        ``lazy``: nobody waits for it, so it goes with the next record that somebody waits for, or alone after a moment.
        """
        loop = self._taking()
        future: asyncio.Future[Committed] = loop.create_future()
        self._waiting += 1
        self._taken.append((record, future))
        if self._due is None:
            self._due = loop.call_later(self._lazy_s, self._hand_over) if lazy else loop.call_soon(self._hand_over)
            self._lazily = lazy
        elif self._lazily and not lazy:
            self._due.cancel()
            self._due = loop.call_soon(self._hand_over)
            self._lazily = False
        return future

    def check(self) -> None:
        """Raise what ``submit`` would raise now, before anything is done that would have to be logged."""
        self._taking()

    def _taking(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._closing:
            raise StorageUnavailable("the log takes no writes: the service is starting or stopping", retry_after_s=RETRY_AFTER_S)
        if self._waiting >= self._max_queue:
            raise Overloaded(
                f"{self._max_queue} writes are waiting for the database", remedy="retry after a moment", retry_after_s=RETRY_AFTER_S
            )
        return self._loop

    def _hand_over(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = None
        if self._taken:
            self._queue.put(self._taken)  # as one, so that what one turn of the loop hands in is committed together
            self._taken = []

    async def close(self) -> None:
        """Take no more writes, and return when every accepted one is answered. The store stays open."""
        if self._thread is None:
            self._closing = True
            return
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._queue.put(None)
        await self._stopped.wait()
        self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            more = True
            while more:
                group, more = self._next_group()
                if group:
                    results = self._commit([write for write, _ in group])
                    loop.call_soon_threadsafe(self._answer, group, results)
            loop.call_soon_threadsafe(self._stopped.set)
        except RuntimeError:
            if not loop.is_closed():  # a closed loop has nobody left to answer
                raise

    def _next_group(self) -> tuple[list[Waiting], bool]:
        """Wait for writes and take what has queued up behind them; False once nothing can follow."""
        group = self._left or self._queue.get()
        if group is None:
            return [], False
        if self._linger_s and self._queue.qsize() + len(group) < self._max_group and not self._last:
            time.sleep(self._linger_s)
        while len(group) < self._max_group and not self._last:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                self._last = True
            else:
                group += more
        group, self._left = group[: self._max_group], group[self._max_group :]
        return group, not self._last or bool(self._left)

    def _commit(self, writes: list[Write]) -> list[Committed | Exception]:
        try:
            return [*self._store.commit(writes)]
        except RouterError as exc:
            return [_renewed(exc) for _ in writes]
        except Exception as exc:  # noqa: BLE001 - one record that cannot be stored must fail alone, and never stop the thread
            if len(writes) == 1:
                return [exc]
            return [self._commit([write])[0] for write in writes]

    def _answer(self, group: list[Waiting], results: list[Committed | Exception]) -> None:
        self._waiting -= len(group)
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Committed):
                future.set_result(result)
            else:
                future.set_exception(result)
        if self.on_written is not None:
            for (record, _), result in zip(group, results, strict=True):
                if isinstance(result, Committed) and not result.repeated:
                    self.on_written(record)
        added = group_of([record for record, _ in group], results)
        if added is not None and self.on_commit is not None:
            self.on_commit(added)


def _renewed(exc: RouterError) -> RouterError:
    # everyone raises an error of their own: a shared one would collect the tracebacks of all who waited
    own = type(exc)(exc.message, field=exc.field, remedy=exc.remedy, retry_after_s=exc.retry_after_s)
    own.__cause__ = exc.__cause__
    return own
