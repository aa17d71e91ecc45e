"""What a service does because others write to the same log: it hears of their commits and of their changes to the catalogue."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from router.domain.events import News
from router.errors import StorageUnavailable

log = structlog.get_logger("sharing")


class Feed(Protocol):
    """Calls back from a thread of its own."""

    @property
    def leading(self) -> bool:
        """Whether this service does what only one should do."""
        ...

    def start(self) -> None: ...

    def close(self) -> None: ...


class Catalogue(Protocol):
    """The catalogue as this service knows it."""

    async def load(self) -> None:
        """Read the changes anew. Raises ``StorageUnavailable``."""
        ...


class SharingService:
    """Brings news from the feed's thread to the event loop."""

    def __init__(self, make_feed: Callable[[Callable[[News], None]], Feed], hear: Callable[[News], None], catalogue: Catalogue) -> None:
        self._feed = make_feed(self._from_thread)
        self._hear = hear
        self._catalogue = catalogue
        self._seen = 0
        self._loading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def leading(self) -> bool:
        """Whether this service keeps the snapshots of all."""
        return self._feed.leading

    def start(self) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        self._feed.start()

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.to_thread(self._feed.close)
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)

    def _from_thread(self, news: News) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, news)

    def _take(self, news: News) -> None:
        self._hear(news)
        if news.group is None and news.catalogue != self._seen and (self._loading is None or self._loading.done()):
            self._loading = asyncio.get_running_loop().create_task(self._load(news.catalogue), name="pointsman-catalogue")

    async def _load(self, catalogue: int) -> None:
        try:
            await self._catalogue.load()
        except StorageUnavailable as exc:
            log.warning("sharing.catalogue_unreadable", reason=exc.message)  # the next look at the log comes back to it
            return
        self._seen = catalogue
