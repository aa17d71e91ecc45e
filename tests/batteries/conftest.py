"""Batteries over real sockets: the real adapters call the stub, whose scripted models have known qualities."""

import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.types import Timeouts
from router.batteries.files import parse
from router.domain.battery import Battery
from router.domain.catalog import load_shipped
from router.domain.ids import new_id
from router.ports import Store
from router.services.battery import BatteryService
from router.services.battery_play import Tools
from router.services.providers import connect
from router.storage.writer import GroupCommitWriter
from router.testing import Stub

KEYS = {f"{name}_API_KEY": "any" for name in ("GEMINI", "ANTHROPIC", "CEREBRAS", "DEEPINFRA", "OPENAI")} | {"REPLICATE_API_TOKEN": "any"}
PATHS = {"google": "gemini", "cerebras": "cerebras", "deepinfra": "deepinfra", "replicate": "replicate", "anthropic": "anthropic"}


@pytest.fixture(scope="session")
def running_stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def stub(running_stub: Stub) -> Stub:
    running_stub.forget()
    return running_stub


def urls(stub: Stub) -> dict[str, str]:
    """The providers' addresses."""
    return {provider: stub.base_url(kind) for provider, kind in PATHS.items()}


@asynccontextmanager
async def running(store: Store, stub: Stub) -> AsyncIterator[BatteryService]:
    """What runs batteries against the stub, logging to the store."""
    writer = GroupCommitWriter(store)
    addresses = urls(stub)
    providers = await connect(frozenset(addresses), addresses, Timeouts(total_s=120.0), KEYS)
    await writer.start()
    catalog = load_shipped()

    async def enter() -> None:
        store.announce([model.id for model in catalog.models], 0.0)

    tools = Tools(writer, providers, catalog, store.charge_battery_run, enter, time.time, new_id, random.Random(1))
    try:
        yield BatteryService(store, tools)
    finally:
        await providers.close()
        await writer.close()


def small(models: list[str], asked: Mapping[str, tuple[str, str, int]], **changes: Any) -> Battery:
    """A battery of generated cases: judge, generator and number of cases by task type."""
    written = [
        {"task_type": task, "generate": {"kind": kind, "count": count, "seed": 5}, "judges": [{"judge": judge}]}
        for task, (judge, kind, count) in asked.items()
    ]
    return parse({"name": "small", "models": models, "limits": {"default": {"concurrency": 4}}, "sections": written} | changes, Path())
