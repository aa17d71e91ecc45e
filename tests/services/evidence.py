"""Scored calls, put into a store as a battery would, and what is learned from a store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from learning.choice import Preference
from learning.features import SCHEMA_VERSION, encode, to_bytes
from router.domain.catalog import Catalog
from router.domain.decisions import Decision
from router.domain.events import CostSource, Feedback, Outcome, Status, Write
from router.ports import Store
from router.services.guide import GuideService
from router.services.training import TrainingService

WEIGHTS = {"quality": 1.0, "cost": 0.3, "latency": 0.1}


@asynccontextmanager
async def learned(store: Store, catalog: Catalog) -> AsyncIterator[GuideService]:
    preference = Preference(1.0, 30.0, 0.01)
    training = TrainingService(store, half_life_records=1e9, preference=preference, policy=("thompson", "1"), clock=lambda: 0.0)
    training.use_catalog(catalog)
    await training.start()
    service = GuideService(
        store,
        posterior=lambda: training.posterior,
        digest=lambda: training.digest,
        catalog=lambda: catalog,
        preference=preference,
        weights=WEIGHTS,
    )
    try:
        yield service
    finally:
        await training.close()


def play(
    store: Store, task_type: str, model: str, scores: Sequence[float], *, usd: float | None = 0.001, seconds: float = 2.0, name: str = "a"
) -> list[str]:
    """One decision, outcome and score each; returns the decisions' ids."""
    writes: list[Write] = []
    ids = [f"dec_{name}_{task_type}_{model.replace('/', '_')}_{i}" for i in range(len(scores))]
    for i, (decision, score) in enumerate(zip(ids, scores, strict=True)):
        writes.append(
            Decision(
                id=decision,
                at=1_000.0 + i,
                task_type=task_type,
                features_schema=SCHEMA_VERSION,
                features=to_bytes(encode(500)),
                request={"draw": 0, "context_tokens": 500},
                eligible=(model,),
                propensities=(1.0,),
                model=model,
                propensity=1.0,
                confidence=0.0,
                reason="battery",
                policy="battery",
                policy_version="1",
                policy_seq=0,
                catalog_version="1",
                forced=True,
            )
        )
        cost = None if usd is None else usd * (1 + i % 3)
        source = None if usd is None else CostSource.COMPUTED
        writes.append(Outcome(decision, Status.OK, 1_001.0 + i, None, seconds + i % 2, None, 500, 100, cost, source))
        writes.append(Feedback(f"fb_{decision}", decision, "label@1", "quality", score, 1_002.0 + i))
    store.commit(writes)
    return ids
