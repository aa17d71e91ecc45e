"""Hears of what other services commit: LISTEN for promptness, a look at the log now and then for certainty."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from router.domain.events import Group, News
from router.storage import postgres
from router.storage.engine import parse

_LOOK_S = 0.5
"""Between two looks at the log."""
_RETRY_S = 0.2

_STATE = (
    "SELECT (SELECT seq FROM log_head), (SELECT coalesce(max(id), 0) FROM models),"
    " (SELECT extract(epoch FROM pg_postmaster_start_time())::float8)"
)

log = structlog.get_logger("feed")


class LogFeed:
    """A thread with a connection of its own. ``on_news`` is called in that thread, and ``folded`` for the position that is folded here.

    One of the services that listen leads: it holds a lock with its connection, and loses both together.
    """

    def __init__(self, url: str, on_news: Callable[[News], None], folded: Callable[[], int]) -> None:
        self._url = parse(url)
        self._on_news = on_news
        self._folded = folded
        self._stopping = threading.Event()
        self._leading = False
        self._started_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="log-feed", daemon=True)

    @property
    def leading(self) -> bool:
        """Whether this service does what only one should do."""
        return self._leading

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        told = False
        while not self._stopping.is_set():
            try:
                with postgres.listen(self._url) as connection:
                    told = False
                    while not self._stopping.is_set():
                        self._look(connection)
                        self._listen(connection)
            except Exception as exc:  # a thread that ends goes unnoticed, and what others commit is never heard of
                if not told:
                    log.warning("feed.interrupted", exc_info=exc)
                    told = True
            self._leading = False
            self._stopping.wait(_RETRY_S)

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        folded = self._folded()  # before the look: what is committed during it may be folded before it is heard of
        row = connection.execute(_STATE).fetchone()
        if row is None:
            raise AssertionError("a query without FROM has one row")
        seq, catalogue, started_at = row
        restarted = self._started_at not in (None, started_at)
        self._started_at = started_at
        self._on_news(News(seq, catalogue=catalogue, restarted=restarted, folded=folded))
        if not self._leading:
            taken = connection.execute("SELECT pg_try_advisory_lock(%s)", (postgres.LEADER_LOCK,)).fetchone()
            self._leading = bool(taken and taken[0])

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        for heard in connection.notifies(timeout=_LOOK_S):
            if heard.payload == postgres.CATALOGUE:
                return  # to look at it
            first, last, evidence = heard.payload.split()
            self._on_news(News(int(last), Group(int(first), int(last), evidence == "1")))
            if self._stopping.is_set():
                return
