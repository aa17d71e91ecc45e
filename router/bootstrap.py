"""The one place that builds the service from its settings."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from router import parts
from router.api.services import Services
from router.config import Settings
from router.domain.events import Group
from router.domain.ids import new_id
from router.domain.tasks import Weights
from router.lifecycle import Lifecycle
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.services.evaluation import EvaluationService
from router.services.feedback import FeedbackService
from router.services.history import HistoryService
from router.services.lift import LiftService
from router.services.metrics import Metrics
from router.services.models import ModelService
from router.services.outage import OutageWriter
from router.services.overrides import OverrideService
from router.services.pins import PinService
from router.services.planning import PlanningService
from router.services.tallying import TallyService
from router.services.texts import text_reader
from router.services.tracing import connect as tracing_to_collector
from router.storage.writer import GroupCommitWriter


async def build(settings: Settings) -> Services:
    """Build every part; nothing runs until ``start``.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    texts = text_reader(settings.text_features)
    store, revision = await asyncio.to_thread(parts.open_store, settings)

    def leads() -> bool:
        return sharing is None or sharing.leading

    try:
        writer = GroupCommitWriter(
            store, max_queue=settings.write_queue_max, max_group=settings.write_group_max, linger_s=settings.write_linger_s
        )
        models = ModelService(store, parts.base_catalog(settings), clock=time.time)
        keys, access = await asyncio.to_thread(parts.key_service, settings, store)
        deciding = (
            OutageWriter(writer, at_most_s=settings.outage_max_s, monotonic=time.monotonic) if settings.outage == "degraded" else writer
        )
        routing, training, regimes = parts.learned(settings, store, deciding, models, leads=leads)
        sharing = parts.sharing(settings, training, models)
        retention = parts.retention(settings, store, leads)
        tallying = TallyService(store)
        overrides = OverrideService(store, clock=time.time)
        pins = PinService(routing.pins, overrides, catalog=lambda: models.catalog, decide_by=routing.use_pins)
        budgets, spending, allowance = parts.budgets(settings, store, overrides, routing, training, tallying)
        writer.on_commit = _both(training.notify, tallying.notify)
        providers = await parts.providers(settings)
        judging = parts.judging(settings, store, writer, models, routing, providers)
        tracing = tracing_to_collector() if settings.otel else None
        execution = parts.execution(settings, store, deciding, models, routing, keys, providers, judging, tracing)
        readings = parts.readings(settings, writer, models, training, tallying, execution, leads)
        readings = replace(readings, day=lambda: spending.day, allowances=lambda: allowance.standing)
        beside = (training, tallying, overrides, spending, allowance, retention, sharing)
        followers = [part.follower for part in beside if part is not None] + ([] if judging is None else judging.followers)
        metrics = Metrics(replace(readings, parts=lambda: followers))
        writer.on_written = metrics.written
    except BaseException:
        store.close()
        raise

    life = Lifecycle(
        settings=settings,
        store=store,
        revision=revision,
        access=access,
        writer=writer,
        models=models,
        training=training,
        tallying=tallying,
        regimes=regimes,
        execution=execution,
        keys=keys,
        texts=texts,
        overrides=overrides,
        spending=spending,
        allowance=allowance,
        judging=judging,
        sharing=sharing,
        retention=retention,
        tracing=tracing,
    )
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
        guide=parts.guide(settings, store, models, routing, training),
        pins=pins,
        metrics=metrics,
        schema_revision=revision,
        followers=followers,
        leads=leads,
        bears_outage=lambda: isinstance(deciding, OutageWriter) and deciding.bearing,
        start=life.start,
        close=life.close,
        execution=execution,
        judging=judging,
        texts=texts,
        budgets=budgets,
        spending=spending,
        planning=PlanningService(routing, writer, lambda: models.catalog),
        evaluation=EvaluationService(store, decide_again, lambda: models.catalog),
        lift=LiftService(store),
        audit=AuditService(store, decide_again),
        history=HistoryService(store, Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)),
    )


def _both(first: Callable[[Group], None], second: Callable[[Group], None]) -> Callable[[Group], None]:
    def told(group: Group) -> None:
        first(group)
        second(group)

    return told
