"""Keeps in the log what decisions are taken by, so that any of them can be recomputed and every fold knows the same models."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from router.domain.catalog import Catalog
from router.domain.events import Committed, Regime, Write
from router.ports import Store


class LogWriter(Protocol):
    """Writes one record and returns when it is durable."""

    async def write(self, record: Write) -> Committed: ...


class RegimeService:
    """Enters a regime: in the log, and known to the learner, before a decision is taken by it."""

    def __init__(
        self,
        writer: LogWriter,
        store: Store,
        *,
        policy: tuple[str, dict[str, Any]],
        settle: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._store = store
        self._policy_version, self._policy = policy
        self._settle = settle
        self._clock = clock

    async def enter(self, catalog: Catalog) -> None:
        """Return when the log holds the regime and the learner has folded it; nothing is written where it holds already.

        Raises ``Overloaded``, ``StorageUnavailable``.
        """
        last = await asyncio.to_thread(self._store.regime_at, await asyncio.to_thread(self._store.last_seq))
        if last is None or (last.catalog_version, last.policy_version) != (catalog.version, self._policy_version):
            await self._writer.write(Regime(catalog.version, self._policy_version, self._policy, catalog.models, self._clock()))
        await self._settle()
