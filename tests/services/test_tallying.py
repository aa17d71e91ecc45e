"""The tallies follow the log, from wherever a process left them."""

import asyncio
from typing import Any

from router.domain.events import Group
from router.domain.tallies import DAY_S
from router.errors import StorageUnavailable
from router.services.tallying import TallyService
from router.storage.memory import MemoryStore
from tests.storage.conftest import Records


def decided(store: MemoryStore) -> int:
    return sum(line.sums.decisions for line in store.tallies(DAY_S, 0.0, "time"))


async def until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0.005)


async def test_what_is_there_and_what_comes_is_counted() -> None:
    store = MemoryStore()
    store.commit([Records.decision(f"d{i}") for i in range(25_000)])
    service = TallyService(store, gather_s=0.0)
    await service.start()
    await until(lambda: decided(store) == 25_000)
    store.commit([Records.decision("later")])
    service.notify(Group(25_001, 25_001, evidence=False))
    await until(lambda: decided(store) == 25_001)
    await service.close()
    await service.close()
    again = TallyService(store, gather_s=0.0)
    await again.catch_up()
    assert (again.seq, decided(store)) == (25_001, 25_001)


async def test_a_database_that_is_away_is_waited_for(monkeypatch: Any) -> None:
    class Away(MemoryStore):
        away = True

        def count_on(self, limit: int) -> int:
            if self.away:
                self.away = False
                raise StorageUnavailable("away")
            return super().count_on(limit)

    monkeypatch.setattr("router.services.tallying._RETRY_S", 0.0)
    store = Away()
    store.commit([Records.decision("d")])
    service = TallyService(store, gather_s=0.0)
    await service.start()
    await until(lambda: decided(store) == 1)
    await service.close()
