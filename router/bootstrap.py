"""The one place that builds the service from its settings."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from adapters.openai_calls import Client
from adapters.types import Timeouts
from learning.pacing import Pacer
from router import config, telemetry
from router.api.services import Services
from router.config import Settings
from router.domain import catalog
from router.domain.catalog import Catalog
from router.domain.events import Group, OutcomeEvent
from router.domain.ids import new_id
from router.domain.models import Price
from router.domain.pins import Pin
from router.domain.routing_rules import RoutingRules
from router.domain.spending import Exhausted
from router.domain.tasks import Weights
from router.errors import RouterError
from router.ports import Store
from router.recomputing import decide_again
from router.services.allowance import AllowanceService
from router.services.audit import AuditService
from router.services.calls import ExecutionRules
from router.services.evaluation import EvaluationService
from router.services.execution import ExecutionService
from router.services.feedback import FeedbackService
from router.services.guide import GuideService
from router.services.history import HistoryService
from router.services.judge_calls import JudgeCalls
from router.services.judging import JudgingRules, JudgingService, Means
from router.services.keys import KeyService
from router.services.lift import LiftService
from router.services.metrics import Metrics, Readings
from router.services.models import ModelService
from router.services.outage import OutageWriter
from router.services.planning import PlanningService
from router.services.providers import Providers, connect
from router.services.regimes import RegimeService
from router.services.retention import RetentionService
from router.services.routing import RoutingService
from router.services.sharing import SharingService
from router.services.spending import SpendingService
from router.services.tallying import TallyService
from router.services.texts import text_reader
from router.services.tracing import Tracing
from router.services.tracing import connect as tracing_to_collector
from router.services.training import TrainingService
from router.storage.writer import GroupCommitWriter

if TYPE_CHECKING:
    from router.services.battery import BatteryService

log = structlog.get_logger("service")

RECORDS_PER_DECISION = 3
"""Log positions that one decision with its outcome and its feedback takes."""


async def build(settings: Settings) -> Services:
    """Build every part; nothing runs until ``start``.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    texts = text_reader(settings.text_features)
    store, revision = await asyncio.to_thread(open_store, settings)

    def leads() -> bool:
        return sharing is None or sharing.leading

    try:
        writer = GroupCommitWriter(
            store, max_queue=settings.write_queue_max, max_group=settings.write_group_max, linger_s=settings.write_linger_s
        )
        models = ModelService(store, base_catalog(settings), clock=time.time)
        keys, access = await asyncio.to_thread(key_service, settings, store)
        deciding = (
            OutageWriter(writer, at_most_s=settings.outage_max_s, monotonic=time.monotonic) if settings.outage == "degraded" else writer
        )
        allowance = _allowance(settings, store)
        routing, training, regimes, spending = _learned(settings, store, deciding, models, leads=leads, allowance=allowance)
        sharing = _sharing(settings, training, models)
        retention = _retention(settings, store, leads)
        tallying = TallyService(store)
        writer.on_commit = _both(training.notify, tallying.notify)
        providers = await _providers(settings)
        judging = _judging(settings, store, writer, models, routing, providers)
        tracing = tracing_to_collector() if settings.otel else None
        execution = _execution(settings, store, deciding, models, routing, keys, providers, judging, tracing)
        readings = _readings(settings, writer, models, training, tallying, execution, leads)
        if spending is not None:
            readings = replace(readings, day=lambda: spending.standing)
        if allowance is not None:
            readings = replace(readings, allowances=lambda: allowance.standing)
        metrics = Metrics(readings)
        writer.on_written = metrics.written
    except BaseException:
        store.close()
        raise

    async def start() -> None:
        try:
            await models.load()
            await models.announce()
            await training.start()
            await tallying.start()
            if texts is not None:
                await texts.read(["ready"])  # an embedding model takes seconds to load
            if spending is not None:
                await tallying.catch_up()
                await spending.start()
            if allowance is not None:
                await allowance.start()
            await writer.start()
            if judging is not None:
                await judging.start()
            if sharing is not None:
                sharing.start()
            if retention is not None:
                await retention.start()
            await regimes.enter(models.catalog)
            models.before_use = regimes.enter  # the posterior knows a model before a decision may name it
        except RouterError as exc:
            log.error("service.not_started", reason=exc.message, field=exc.field, remedy=exc.remedy)
            raise
        log.info(
            "service.started",
            **_summary(settings, models.catalog, revision),
            providers=execution.providers.names,
            access=access,
            seq=training.seq,
            digest=training.digest,
        )

    async def close() -> None:
        try:
            if judging is not None:
                await judging.close()
            await execution.close()
            if tracing is not None:
                await tracing.close()
            await writer.close()
            if retention is not None:
                await retention.close()
            if allowance is not None:
                await allowance.close()
            if spending is not None:
                await spending.close()
            await tallying.close()
            await training.close()
            if sharing is not None:
                await sharing.close()
            await keys.close()
        finally:
            await asyncio.to_thread(store.close)
        log.info("service.closed", seq=training.seq, digest=training.digest)

    return Services(
        settings=settings,
        store=store,
        writer=writer,
        models=models,
        routing=routing,
        training=training,
        feedback=FeedbackService(writer, store, clock=time.time, new_id=new_id, keep_comments=settings.store_text),
        keys=keys,
        tallying=tallying,
        guide=_guide(settings, store, models, routing, training),
        pins=routing.pins,
        metrics=metrics,
        schema_revision=revision,
        leads=leads,
        bears_outage=lambda: isinstance(deciding, OutageWriter) and deciding.bearing,
        start=start,
        close=close,
        execution=execution,
        judging=judging,
        texts=texts,
        spending=spending,
        planning=PlanningService(routing, writer, lambda: models.catalog),
        evaluation=EvaluationService(store, decide_again, lambda: models.catalog),
        lift=LiftService(store),
        audit=AuditService(store, decide_again),
        history=HistoryService(store, Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)),
    )


def open_store(settings: Settings) -> tuple[Store, str]:
    """The settings' store, migrated where they say so, and its schema revision.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    if settings.in_memory:
        from router.storage.memory import MemoryStore

        return MemoryStore(), "memory"
    from router.storage import schema
    from router.storage.sql import SqlStore

    revision = schema.upgrade(settings.database_url) if settings.migrate else schema.check(settings.database_url)
    store = SqlStore(settings.database_url, settings.durability, connections=settings.database_connections)
    try:
        store.check()
    except BaseException:
        store.close()
        raise
    return store, revision.current or "none"


def key_service(settings: Settings, store: Store) -> tuple[KeyService, str]:
    """What checks API keys, and who has access, in words.

    Raises ``ConfigurationInvalid`` where others reach the address and there is no key, ``StorageUnavailable``.
    """
    loopback, keys = config.is_loopback(settings.host), store.keys()
    if not keys and not loopback:
        raise config.open_to_others()
    service = KeyService(
        store,
        clock=time.time,
        monotonic=time.monotonic,
        new_id=new_id,
        loopback=loopback,
        stale_s=settings.outage_max_s if settings.outage == "degraded" else 0.0,
    )
    usable = sum(key.usable(time.time()) for key in keys)
    return service, f"{usable} API key{'s' * (usable != 1)}" if keys else "loopback only: no API keys are configured"


def base_catalog(settings: Settings) -> Catalog:
    """What ships, with the operator's file over it; changes made at run time are in the store.

    Raises ``ConfigurationInvalid``.
    """
    shipped = catalog.load_shipped()
    return shipped if settings.catalog_file is None else catalog.load_file(settings.catalog_file, shipped)


def _learned(
    settings: Settings,
    store: Store,
    writer: GroupCommitWriter | OutageWriter,
    models: ModelService,
    *,
    leads: Callable[[], bool],
    allowance: AllowanceService | None = None,
) -> tuple[RoutingService, TrainingService, RegimeService, SpendingService | None]:
    """What decides and what learns, tied together: one publishes the posterior that the other reads, both follow the catalogue."""
    rules = routing_rules(settings)
    pacer, spending = _budgets(settings, store)
    routing = RoutingService(
        writer,
        rules,
        posterior=lambda: training.posterior,
        clock=time.time,
        new_id=new_id,
        money=pacer,
        purse=spending,
        allowance=allowance,
    )

    def paid(event: OutcomeEvent) -> None:
        if pacer is not None and event.outcome.cost_usd is not None:
            pacer.settle(event.outcome.cost_usd)
        if spending is not None:
            spending.paid(event)

    training = TrainingService(
        store,
        half_life_records=rules.half_life_records,
        trusted_judges=rules.trusted_judges,
        paid=None if pacer is None else paid,
        preference=routing.preference(Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)),
        policy=(settings.policy, routing.policy_version),
        clock=time.time,
        leads=leads,
        rereads=settings.durability == "normal",
    )
    regimes = RegimeService(writer, store, policy=(routing.policy_version, rules.told()), settle=training.settle, clock=time.time)
    models.subscribe(training.use_catalog)
    models.subscribe(routing.use_catalog)
    return routing, training, regimes, spending


def _budgets(settings: Settings, store: Store) -> tuple[Pacer | None, SpendingService | None]:
    """What paces money, and what shares out a day's; None where nothing is limited."""
    most, day = settings.budget_usd_per_request, settings.budget_usd_per_day
    if day is None:
        return None if most is None else Pacer(most), None
    pacer = Pacer(day if most is None else most)

    def aim(usd: float) -> None:
        pacer.aim(usd if most is None else min(usd, most))

    return pacer, SpendingService(store, day, exhausted=Exhausted(settings.budget_exhausted), aim=aim, clock=time.time)


def _allowance(settings: Settings, store: Store) -> AllowanceService | None:
    """What limits a day's exploring; None where nothing does."""
    quality, usd = settings.exploration_quality_per_day, settings.exploration_usd_per_day
    if quality is None and usd is None:
        return None
    return AllowanceService(store, quality=quality, usd=usd, clock=time.time)


def routing_rules(settings: Settings) -> RoutingRules:
    """How the settings have requests weighed and drawn."""
    return RoutingRules(
        policy=settings.policy,
        policy_parameters=settings.policy_parameters,
        cost_reference_usd=settings.cost_reference_usd,
        latency_reference_s=settings.latency_reference_s,
        fallback_model=settings.fallback_model,
        holdback_share=settings.holdback_share,
        baseline_model=settings.baseline_model,
        half_life_records=settings.half_life_decisions * RECORDS_PER_DECISION,
        trusted_judges=tuple(settings.trusted),
        exploration_quality=settings.exploration_quality,
        exploration_usd=settings.exploration_usd,
        salt=settings.salt.get_secret_value().encode() if settings.salt is not None else secrets.token_bytes(32),
        pins=pins(settings),
    )


def _sharing(settings: Settings, training: TrainingService, models: ModelService) -> SharingService | None:
    """What hears of other services; None where the log is this service's own."""
    if not settings.shared:
        return None
    from router.storage.feed import LogFeed  # here: the driver comes with an extra

    return SharingService(lambda on_news: LogFeed(settings.database_url, on_news), training.hear, models)


def _readings(
    settings: Settings,
    writer: GroupCommitWriter,
    models: ModelService,
    training: TrainingService,
    tallying: TallyService,
    execution: ExecutionService,
    leads: Callable[[], bool],
) -> Readings:
    return Readings(
        lag_s=lambda: training.lag_s,
        digest=lambda: training.digest,
        leads=leads,
        waiting=lambda: writer.waiting,
        most_waiting=settings.write_queue_max,
        lag=lambda: training.lag,
        seq=lambda: training.seq,
        tallied=lambda: tallying.seq,
        incidents=lambda: sum(incident.closed is None for incident in training.incidents),
        resting=execution.resting,
        active_models=lambda: len(models.catalog.active),
        text_counts=lambda: training.posterior.text_counts,
        policy=settings.policy,
        release=telemetry.release(),
    )


def _retention(settings: Settings, store: Store, leads: Callable[[], bool]) -> RetentionService | None:
    """What shortens the log; None where it is kept for ever, or ends with the process anyway."""
    from router.storage.sql import SqlStore

    if settings.log_retention_days is None or not isinstance(store, SqlStore):
        return None
    return RetentionService(store, days=settings.log_retention_days, leads=leads, clock=time.time)


def _both(first: Callable[[Group], None], second: Callable[[Group], None]) -> Callable[[Group], None]:
    def told(group: Group) -> None:
        first(group)
        second(group)

    return told


def pins(settings: Settings) -> Mapping[str, Pin]:
    """The pinned rules that the settings name.

    Raises ``ConfigurationInvalid`` where the file cannot be used or was changed after it was pinned.
    """
    if settings.rules_file is None:
        return {}
    from router.domain.rulebook import pins_of  # here: only a file needs them
    from router.storage.rule_files import read_rules

    return pins_of(read_rules(settings.rules_file))


@asynccontextmanager
async def guide_service(settings: Settings) -> AsyncIterator[GuideService]:
    """What puts the model selection guide together without a running service: the log is folded first, and nothing is written.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    store, _ = await asyncio.to_thread(open_store, settings)
    try:
        models = ModelService(store, base_catalog(settings), clock=time.time)
        routing, training, _, _ = _learned(settings, store, GroupCommitWriter(store), models, leads=lambda: False)
        await models.load()
        await training.start()
        try:
            yield _guide(settings, store, models, routing, training)
        finally:
            await training.close()
    finally:
        await asyncio.to_thread(store.close)


def _guide(settings: Settings, store: Store, models: ModelService, routing: RoutingService, training: TrainingService) -> GuideService:
    """The guide of what is learned, for the weights of a request that names none."""
    weights = Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)
    return GuideService(
        store,
        posterior=lambda: training.posterior,
        digest=lambda: training.digest,
        catalog=lambda: models.catalog,
        preference=routing.preference(weights),
        weights={"quality": weights.quality, "cost": weights.cost, "latency": weights.latency},
    )


@asynccontextmanager
async def battery_service(settings: Settings) -> "AsyncIterator[tuple[BatteryService, Store]]":
    """What runs test batteries, and the store that it logs to; closed in order.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    from router.services.battery import BatteryService  # here: a server runs no batteries
    from router.services.battery_play import Tools

    store, _ = await asyncio.to_thread(open_store, settings)
    try:
        writer = GroupCommitWriter(store, max_queue=settings.write_queue_max, max_group=settings.write_group_max)
        models = ModelService(store, base_catalog(settings), clock=time.time)
        routing, _, _, _ = _learned(settings, store, writer, models, leads=lambda: False)
        policy = (routing.policy_version, routing_rules(settings).told())
        regimes = RegimeService(writer, store, policy=policy, settle=_nothing, clock=time.time)  # nobody decides here
        await models.load()
        providers = await _providers(settings)

        async def enter() -> None:
            await models.announce()
            await regimes.enter(models.catalog)

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
        await writer.start()
        try:
            yield BatteryService(store, tools), store
        finally:
            await providers.close()
            await writer.close()
    finally:
        await asyncio.to_thread(store.close)


async def _nothing() -> None:
    return None


async def _providers(settings: Settings) -> Providers:
    """Every provider that can be called, as the settings say."""
    timeouts = Timeouts(first_token_s=settings.provider_first_token_s, idle_s=settings.provider_idle_s, total_s=settings.provider_timeout_s)
    return await connect(settings.chosen_providers, settings.provider_urls, timeouts, os.environ, client=Client(settings.openai_client))


def _judging(
    settings: Settings, store: Store, writer: GroupCommitWriter, models: ModelService, routing: RoutingService, providers: Providers
) -> JudgingService | None:
    """What judges answers in the background; None where no share of them is to be judged."""
    if not settings.judge_share:
        return None
    rules = JudgingRules(settings.judge_share, settings.judges, settings.judge_budget_usd_per_day)
    calls = JudgeCalls(providers, lambda: models.catalog)
    return JudgingService(rules, writer, Means(routing.outlook, calls, store.judging_usd, time.time, new_id, random.Random()))


def _execution(
    settings: Settings,
    store: Store,
    writer: GroupCommitWriter | OutageWriter,
    models: ModelService,
    routing: RoutingService,
    keys: KeyService,
    providers: Providers,
    judging: JudgingService | None,
    tracing: Tracing | None,
) -> ExecutionService:
    """What makes the calls, over every provider that can be called."""
    models.subscribe(lambda catalog: routing.use_unavailable(providers.unavailable(catalog)))

    def price(model_id: str) -> Price | None:
        return models.catalog.get(model_id).price

    rules = ExecutionRules(settings.max_attempts, settings.retry_share)
    return ExecutionService(
        routing, writer, store, providers, keys, rules, price=price, clock=time.time, rng=random.Random(),
        observe=None if judging is None else judging.observe, told=None if tracing is None else tracing.told,
    )  # fmt: skip


def _summary(settings: Settings, models: Catalog, revision: str) -> dict[str, object]:
    return {
        "host": settings.host,
        "port": settings.port,
        "store": "memory" if settings.in_memory else "postgresql" if settings.shared else "sqlite",
        "durability": "none" if settings.in_memory else settings.durability,
        "schema_revision": revision,
        "policy": settings.policy,
        "catalog_version": models.version,
        "active_models": len(models.active),
    }
