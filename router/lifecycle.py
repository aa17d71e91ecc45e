"""Starts and ends the parts of the service, in order."""

import asyncio
from dataclasses import dataclass

import structlog

from router.config import Settings
from router.domain.catalog import Catalog
from router.errors import RouterError
from router.ports import Store
from router.services.allowance import AllowanceService
from router.services.execution import ExecutionService
from router.services.judging import JudgingService
from router.services.keys import KeyService
from router.services.models import ModelService
from router.services.overrides import OverrideService
from router.services.regimes import RegimeService
from router.services.retention import RetentionService
from router.services.sharing import SharingService
from router.services.spending import SpendingService
from router.services.tallying import TallyService
from router.services.texts import TextReader
from router.services.tracing import Tracing
from router.services.training import TrainingService
from router.storage.writer import GroupCommitWriter

log = structlog.get_logger("service")


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The parts that run beside requests; those that the settings leave out are None."""

    settings: Settings
    store: Store
    revision: str
    """Of the schema."""
    access: str
    """Who has it, in words."""
    writer: GroupCommitWriter
    models: ModelService
    training: TrainingService
    tallying: TallyService
    regimes: RegimeService
    execution: ExecutionService
    keys: KeyService
    texts: TextReader | None
    overrides: OverrideService
    spending: SpendingService
    allowance: AllowanceService
    judging: JudgingService | None
    sharing: SharingService | None
    retention: RetentionService | None
    tracing: Tracing | None

    async def start(self) -> None:
        """Raises ``RouterError`` where a part cannot start."""
        try:
            await self.models.load()
            await self.models.announce()
            await self.training.start()
            await self.tallying.start()
            if self.texts is not None:
                await self.texts.read(["ready"])  # an embedding model takes seconds to load
            await self.overrides.load()
            await self.spending.start()
            await self.allowance.start()
            self.overrides.follower.start()
            await self.writer.start()
            if self.judging is not None:
                await self.judging.start()
            if self.sharing is not None:
                self.sharing.start()
            if self.retention is not None:
                await self.retention.start()
            await self.regimes.enter(self.models.catalog)
            self.models.before_use = self.regimes.enter  # the posterior knows a model before a decision may name it
        except RouterError as exc:
            log.error("service.not_started", reason=exc.message, field=exc.field, remedy=exc.remedy)
            raise
        log.info(
            "service.started",
            **_summary(self.settings, self.models.catalog, self.revision),
            providers=self.execution.providers.names,
            access=self.access,
            seq=self.training.seq,
            digest=self.training.digest,
        )

    async def close(self) -> None:
        """End the parts, the store last."""
        try:
            if self.judging is not None:
                await self.judging.close()
            await self.execution.close()
            if self.tracing is not None:
                await self.tracing.close()
            await self.writer.close()
            if self.retention is not None:
                await self.retention.close()
            await self.overrides.follower.close()
            await self.allowance.close()
            await self.spending.close()
            await self.tallying.close()
            await self.training.close()
            if self.sharing is not None:
                await self.sharing.close()
            await self.keys.close()
        finally:
            await asyncio.to_thread(self.store.close)
        log.info("service.closed", seq=self.training.seq, digest=self.training.digest)


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
