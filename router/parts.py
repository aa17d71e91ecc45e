"""The parts of the service, each built from its settings."""

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping

from adapters.openai_calls import Client
from adapters.types import Timeouts
from router import config, telemetry
from router.config import Settings
from router.domain import catalog
from router.domain.budgets import SETTINGS, Budgets
from router.domain.catalog import Catalog
from router.domain.ids import new_id
from router.domain.models import Price
from router.domain.pins import Pin
from router.domain.routing_rules import RoutingRules
from router.domain.spending import Exhausted
from router.domain.tasks import Weights
from router.ports import Store
from router.services.allowance import AllowanceService
from router.services.budgets import BudgetService, Kept
from router.services.calls import ExecutionRules
from router.services.execution import ExecutionService
from router.services.guide import GuideService
from router.services.judge_calls import JudgeCalls
from router.services.judging import JudgingRules, JudgingService, Means
from router.services.keys import KeyService
from router.services.metrics import Readings
from router.services.models import ModelService
from router.services.outage import OutageWriter
from router.services.overrides import OverrideService
from router.services.providers import Providers, connect
from router.services.regimes import RegimeService
from router.services.retention import RetentionService
from router.services.routing import RoutingService
from router.services.sharing import SharingService
from router.services.spending import SpendingService
from router.services.tallying import TallyService
from router.services.tracing import Tracing
from router.services.training import TrainingService
from router.storage.writer import GroupCommitWriter

RECORDS_PER_DECISION = 3
"""Log positions that one decision with its outcome and its feedback takes."""


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
        safe_model=settings.safe_model,
        safe_shortfall=settings.safe_shortfall,
        salt=settings.salt.get_secret_value().encode() if settings.salt is not None else secrets.token_bytes(32),
        pins=pins(settings),
    )


def pins(settings: Settings) -> Mapping[str, Pin]:
    """The pinned rules that the settings name.

    Raises ``ConfigurationInvalid`` where the file cannot be used or was changed after it was pinned.
    """
    if settings.rules_file is None:
        return {}
    from router.domain.rulebook import pins_of  # here: only a file needs them
    from router.storage.rule_files import read_rules

    return pins_of(read_rules(settings.rules_file))


def learned(
    settings: Settings,
    store: Store,
    writer: GroupCommitWriter | OutageWriter,
    models: ModelService,
    *,
    leads: Callable[[], bool],
) -> tuple[RoutingService, TrainingService, RegimeService]:
    """What decides and what learns, tied together: one publishes the posterior that the other reads, both follow the catalogue."""
    rules = routing_rules(settings)
    routing = RoutingService(writer, rules, posterior=lambda: training.posterior, clock=time.time, new_id=new_id)
    training = TrainingService(
        store,
        half_life_records=rules.half_life_records,
        trusted_judges=rules.trusted_judges,
        preference=routing.preference(Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)),
        policy=(settings.policy, routing.policy_version),
        clock=time.time,
        leads=leads,
        rereads=settings.durability == "normal",
    )
    regimes = RegimeService(writer, store, policy=(routing.policy_version, rules.told()), settle=training.settle, clock=time.time)
    models.subscribe(training.use_catalog)
    models.subscribe(routing.use_catalog)
    return routing, training, regimes


def base_budgets(settings: Settings) -> Budgets:
    """The limits on money that the settings name."""
    told = {name: getattr(settings, setting) for name, setting in SETTINGS.items()}
    return Budgets(**(told | {"exhausted": Exhausted(settings.budget_exhausted)}))


def budgets(
    settings: Settings, store: Store, overrides: OverrideService, routing: RoutingService, training: TrainingService, tallying: TallyService
) -> tuple[BudgetService, SpendingService, AllowanceService]:
    """What has the limits on money hold, with what shares out a day's and what limits its exploring: neither does before it is loaded."""
    spending = SpendingService(store, None, exhausted=Exhausted.CHEAPEST, aim=lambda usd: made.aim(usd), clock=time.time)
    allowance = AllowanceService(store, quality=None, usd=None, clock=time.time)
    kept = Kept(spending, allowance, routing.use_budgets, training.tell_paid, tallying.catch_up)
    made = BudgetService(base_budgets(settings), overrides, kept)
    return made, spending, allowance


def guide(settings: Settings, store: Store, models: ModelService, routing: RoutingService, training: TrainingService) -> GuideService:
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


def sharing(settings: Settings, training: TrainingService, models: ModelService) -> SharingService | None:
    """What hears of other services; None where the log is this service's own."""
    if not settings.shared:
        return None
    from router.storage.feed import LogFeed  # here: the driver comes with an extra

    return SharingService(lambda on_news: LogFeed(settings.database_url, on_news, lambda: training.seq), training.hear, models)


def readings(
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
        set_aside=lambda: Counter(record.kind for record in training.set_aside),
        active_models=lambda: len(models.catalog.active),
        text_counts=lambda: training.posterior.text_counts,
        policy=settings.policy,
        release=telemetry.release(),
    )


def retention(settings: Settings, store: Store, leads: Callable[[], bool]) -> RetentionService | None:
    """What shortens the log; None where it is kept for ever, or ends with the process anyway."""
    from router.storage.sql import SqlStore

    if settings.log_retention_days is None or not isinstance(store, SqlStore):
        return None
    return RetentionService(store, days=settings.log_retention_days, leads=leads, clock=time.time)


async def providers(settings: Settings) -> Providers:
    """Every provider that can be called, as the settings say."""
    timeouts = Timeouts(first_token_s=settings.provider_first_token_s, idle_s=settings.provider_idle_s, total_s=settings.provider_timeout_s)
    return await connect(settings.chosen_providers, settings.provider_urls, timeouts, os.environ, client=Client(settings.openai_client))


def judging(
    settings: Settings, store: Store, writer: GroupCommitWriter, models: ModelService, routing: RoutingService, providers: Providers
) -> JudgingService | None:
    """What judges answers in the background; None where no share of them is to be judged."""
    if not settings.judge_share:
        return None
    rules = JudgingRules(settings.judge_share, settings.judges, settings.judge_budget_usd_per_day)
    calls = JudgeCalls(providers, lambda: models.catalog)
    return JudgingService(rules, writer, Means(routing.outlook, calls, store.judging_usd, time.time, new_id, random.Random()))


def execution(
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
