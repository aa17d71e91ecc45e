"""The fold beside requests: what it tells, and what it does about records that it cannot fold."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from learning.choice import Preference
from router import telemetry
from router.domain.events import Regime
from router.domain.models import Model, Price
from router.ports import Store
from router.services.training import TrainingService
from router.storage.memory import MemoryStore
from tests.services.evidence import play

MODEL = Model("a/one", "a", "one", "one", 8_000, price=Price(1.0, 2.0))
REGIME = Regime("c1", "p1", {}, (MODEL,), 1.0)


@asynccontextmanager
async def training(store: Store) -> AsyncIterator[TrainingService]:
    preference = Preference(1.0, 30.0, 0.01)
    service = TrainingService(store, half_life_records=1e9, preference=preference, policy=("thompson", "1"), clock=lambda: 0.0)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


def logged(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["event"] == event]


async def test_an_incident_is_told_once_and_not_again_after_a_restart(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    store = MemoryStore()
    store.commit([REGIME])
    play(store, "quick_qa", "a/one", [0.9, 0.8] * 100)
    async with training(store) as service:
        assert not service.incidents
        play(store, "quick_qa", "a/one", [0.1, 0.2] * 60, name="b")
        await service.settle()
        assert service.incidents
    assert len(logged(capsys, "incident.opened")) == len(service.incidents)
    async with training(store) as service:  # from the snapshot that was kept at the end
        play(store, "quick_qa", "a/one", [0.1], name="c")
        await service.settle()
        assert service.incidents
    assert logged(capsys, "incident.opened") == []
