"""What works on the log without a running server, opened and closed in order."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from router import parts
from router.config import Settings
from router.domain.ids import new_id
from router.ports import Store
from router.services.guide import GuideService
from router.services.models import ModelService
from router.services.regimes import RegimeService
from router.storage.writer import GroupCommitWriter

if TYPE_CHECKING:
    from router.services.battery import BatteryService
    from router.services.importing import ImportService


@asynccontextmanager
async def guide_service(settings: Settings) -> AsyncIterator[GuideService]:
    """What puts the model selection guide together without a running service: the log is folded first, and nothing is written.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    if not settings.in_memory:
        from router.storage import schema  # here: a store in memory needs no driver

        await asyncio.to_thread(schema.require, settings.database_url)
    store, _ = await asyncio.to_thread(parts.open_store, settings)
    try:
        models = ModelService(store, parts.base_catalog(settings), clock=time.time)
        routing, training, _ = parts.learned(settings, store, GroupCommitWriter(store), models, leads=lambda: False)
        await models.load()
        await training.start()
        try:
            yield parts.guide(settings, store, models, routing, training)
        finally:
            await training.close()
    finally:
        await asyncio.to_thread(store.close)


@asynccontextmanager
async def battery_service(settings: Settings) -> "AsyncIterator[tuple[BatteryService, Store]]":
    """What runs test batteries, and the store that it logs to; closed in order.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    from router.services.battery import BatteryService  # here: a server runs no batteries
    from router.services.battery_play import Tools

    async with _logging(settings) as (store, writer, models, enter):
        providers = await parts.providers(settings)
        tools = Tools(
            writer=writer,
            providers=providers,
            catalog=models.catalog,
            enter=enter,
            charge=store.charge_battery_run,
            clock=time.time,
            new_id=new_id,
            rng=random.Random(),
        )
        try:
            yield BatteryService(store, tools), store
        finally:
            await providers.close()


@asynccontextmanager
async def import_service(settings: Settings, *, announce: bool) -> "AsyncIterator[ImportService]":
    """What imports calls of other gateways; ``announce`` where it is to write.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    from router.services.importing import ImportService  # here: a server imports nothing

    async with _logging(settings) as (store, _, models, enter):
        if announce:
            await enter()
        yield ImportService(store, models.catalog, clock=time.time)


@asynccontextmanager
async def _logging(settings: Settings) -> AsyncIterator[tuple[Store, GroupCommitWriter, ModelService, Callable[[], Awaitable[None]]]]:
    """The log, its writer, the catalogue, and what makes the log tell which models there are before the first evidence."""
    store, _ = await asyncio.to_thread(parts.open_store, settings)
    try:
        writer = GroupCommitWriter(store, max_queue=settings.write_queue_max, max_group=settings.write_group_max)
        models = ModelService(store, parts.base_catalog(settings), clock=time.time)
        routing, _, _ = parts.learned(settings, store, writer, models, leads=lambda: False)
        policy = (routing.policy_version, parts.routing_rules(settings).told())
        regimes = RegimeService(writer, store, policy=policy, settle=_nothing, clock=time.time)  # nobody decides here
        await models.load()

        async def enter() -> None:
            await models.announce()
            await regimes.enter(models.catalog)

        await writer.start()
        try:
            yield store, writer, models, enter
        finally:
            await writer.close()
    finally:
        await asyncio.to_thread(store.close)


async def _nothing() -> None:
    return None
