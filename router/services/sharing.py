"""What a service does because others write to the same log: it hears of their commits and of their changes to the catalogue."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from router.domain.events import News
from router.services.follower import Follower

_RETRY_S = 0.5


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
        self._seen = self._wanted = 0
        """The newest change to the catalogue that is known here, and that was heard of."""
        self._news = asyncio.Event()
        self.follower = Follower("catalogue", self._turn, self._load, retry_s=_RETRY_S)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def leading(self) -> bool:
        """Whether this service keeps the snapshots of all."""
        return self._feed.leading

    def start(self) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        self.follower.start()
        self._feed.start()

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.to_thread(self._feed.close)
        await self.follower.close()

    def _from_thread(self, news: News) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, news)

    def _take(self, news: News) -> None:
        self._hear(news)
        if news.group is None and news.catalogue != self._seen:
            self._wanted = news.catalogue
            self._news.set()

    async def _turn(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _load(self) -> None:
        wanted = self._wanted
        await self._catalogue.load()
        self._seen = wanted
