"""A whole application over the memory store, with a small honest router: it screens as the service does and draws uniformly."""

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from learning.drift import Incident
from router import config
from router.api.app import create_app
from router.api.services import Services
from router.domain.catalog import Catalog
from router.domain.decisions import Decision, Estimate, Expected
from router.domain.eligibility import screen
from router.domain.ids import new_id
from router.domain.models import Capability, Modality, Model, Price
from router.domain.set_aside import SetAside
from router.domain.tasks import Task
from router.errors import NoEligibleModel
from router.services.feedback import FeedbackService
from router.services.keys import KeyService
from router.services.models import ModelService
from router.storage.memory import MemoryStore
from router.storage.writer import GroupCommitWriter

MODELS = (
    Model("acme/small", "acme", "small", "acme", 8_000, price=Price(0.1, 0.2), capabilities=frozenset({Capability.JSON})),
    Model("acme/large", "acme", "large", "acme", 128_000, price=Price(2.0, 6.0), modalities=frozenset({Modality.TEXT, Modality.IMAGE})),
    Model("other/plain", "other", "plain", "plain", 32_000),
)


class UniformRouting:
    """Draws each eligible model in turn, with the propensity of a uniform draw."""

    def __init__(self, models: ModelService, writer: GroupCommitWriter) -> None:
        self._models = models
        self._writer = writer
        self._turn = itertools.count()
        self.seen: list[Task] = []

    async def route(self, task: Task) -> Decision:
        self.seen.append(task)
        catalog = self._models.catalog
        eligible, excluded = screen(catalog.models, task)
        fallback = not eligible
        if fallback and not task.allow_fallback:
            raise NoEligibleModel("no model is eligible", field="constraints", remedy="relax a limit or allow the fallback")
        chosen = catalog.active[0] if fallback else eligible[next(self._turn) % len(eligible)]
        share = 1.0 if fallback else 1 / 2 ** (len(eligible) - 1).bit_length()
        decision = Decision(
            id=new_id("dec"),
            at=time.time(),
            task_type=task.task_type,
            features_schema=1,
            features=b"\x00\x00\x80\x3f",
            request={"context_tokens": task.context_tokens},
            eligible=() if fallback else tuple(model.id for model in eligible),
            propensities=() if fallback else (share,) * len(eligible),
            model=chosen.id,
            propensity=share,
            confidence=share,
            reason="fallback: no model is eligible" if fallback else "uniform draw",
            policy="uniform",
            policy_version="1",
            policy_seq=0,
            catalog_version=catalog.version,
            fallback=fallback,
            forced=fallback,
            episode_id=task.episode_id,
            tags=task.tags,
            excluded=tuple(excluded),
            expected=Expected(Estimate(0.7, 0.5, 0.9), None, None),
        )
        await self._writer.write(decision)
        return decision


@dataclass(frozen=True, slots=True)
class CountingReport:
    seq: int
    digest: str
    policy: str
    policy_version: str
    task_types: tuple[dict[str, Any], ...]


class CountingTraining:
    """Learns how long the log is."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.lag = 0
        self.lag_s = 0.0
        self.incidents: list[Incident] = []
        self.set_aside: list[SetAside] = []

    @property
    def seq(self) -> int:
        return self._store.last_seq()

    @property
    def digest(self) -> str:
        return f"{self.seq:064x}"

    def report(self, task_type: str | None = None) -> CountingReport:
        types = ({"task_type": task_type, "n": self.seq, "models": []},) if task_type else ()
        return CountingReport(self.seq, self.digest, "uniform", "1", types)


@dataclass(slots=True)
class Rig:
    """The application, its client and what stands behind it."""

    app: FastAPI
    client: httpx.AsyncClient
    services: Services
    store: MemoryStore
    routing: UniformRouting

    async def decide(self, **body: Any) -> str:
        answer = await self.client.post("/v1/route", json={"task_type": "summarization"} | body)
        assert answer.status_code == 200, answer.text
        decision_id: str = answer.json()["decision_id"]
        return decision_id

    async def scores(self, decision_id: str) -> list[tuple[str, float | None, float]]:
        record = self.store.decision(decision_id)
        assert record is not None
        return [(entry["judge"], entry["score"], entry["weight"]) for entry in record.feedback]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    monkeypatch.chdir(tmp_path)
    return config.load(database_url="memory://")


@pytest.fixture
async def rig(settings: config.Settings) -> AsyncIterator[Rig]:
    store = MemoryStore()
    writer = GroupCommitWriter(store)
    models = ModelService(store, Catalog(MODELS), clock=time.time)
    routing = UniformRouting(models, writer)
    feedback = FeedbackService(writer, store, clock=time.time, new_id=new_id)
    keys = KeyService(store, clock=time.time, monotonic=time.monotonic, new_id=new_id, loopback=True)
    training = CountingTraining(store)
    services = Services(settings, store, writer, models, routing, training, feedback, keys, "0001", writer.start, writer.close)
    app = create_app(services)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost") as client,
    ):
        yield Rig(app, client, services, store, routing)


def facts(model: Model) -> dict[str, Any]:
    """A model as plain values."""
    return asdict(model)
