"""Keeps what operators set while services run: durable before it holds, and taken up by every service on the database."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from router.domain.overrides import Override
from router.ports import OverrideStore
from router.services.follower import Follower

_LOOK_S = 1.0
"""What was set on another service, or by the command line, holds here after this long."""

Use = Callable[[Mapping[str, Override]], Awaitable[None]]
"""Takes the overrides of one kind by name, lifted ones included, and has them hold; safe to be called again."""

log = structlog.get_logger("overrides")


class OverrideService:
    """Lives on the event loop; the store is asked in a thread."""

    def __init__(self, store: OverrideStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._latest: dict[tuple[str, str], Override] = {}
        self._read_to = 0
        self._uses: dict[str, Use] = {}
        self._behind: set[str] = set()
        """Kinds whose overrides do not hold yet."""
        self._changing = asyncio.Lock()
        self.follower = Follower("overrides", lambda: asyncio.sleep(_LOOK_S), self.load, retry_s=_LOOK_S)

    def use(self, kind: str, use: Use) -> None:
        """Have the overrides of a kind hold by ``use``: at the next ``load``, and whenever they change."""
        self._uses[kind] = use
        self._behind.add(kind)

    def latest(self, kind: str) -> dict[str, Override]:
        """The last override of each name, lifted ones included."""
        return {name: one for (its, name), one in self._latest.items() if its == kind}

    async def load(self) -> None:
        """Take up what was set elsewhere.

        Raises ``StorageUnavailable``.
        """
        async with self._changing:
            await self._read()

    async def change(
        self, kind: str, values: Mapping[str, Any], key_id: str | None, check: Callable[[Mapping[str, Override]], None]
    ) -> None:
        """Set values by name, or lift those that are None; they hold here when this returns. What holds already is not kept again.

        ``check`` is given the overrides of the kind as they would be, and raises where they cannot hold. Raises ``StorageUnavailable``.
        """
        async with self._changing:
            await self._read()
            known, now = self.latest(kind), self._clock()
            held = {name: one.value for name, one in known.items()}
            new = [Override(kind, name, value, now, key_id) for name, value in values.items() if held.get(name) != value]
            check(known | {one.name: one for one in new})
            if not new:
                return
            await asyncio.to_thread(self._store.add_overrides, new)
            for one in new:
                log.info("overrides.lifted" if one.value is None else "overrides.set", kind=kind, name=one.name, value=one.value, by=key_id)
            await self._read()

    async def _read(self) -> None:
        for one in await asyncio.to_thread(self._store.overrides, self._read_to):
            self._latest[one.kind, one.name] = one
            self._read_to = one.number
            self._behind.add(one.kind)
        for kind in sorted(self._behind & self._uses.keys()):
            await self._uses[kind](self.latest(kind))
            self._behind.discard(kind)
