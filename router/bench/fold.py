"""How long a service takes to be ready again over a log of so many records, from its start and from a snapshot, and in how much memory."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from learning import state
from learning.features import SCHEMA_VERSION, encode, to_bytes
from learning.learner import Learner
from router.bench.restart import Restart, restart
from router.bench.service import machine, overrides, place, running, settings_on
from router.config import Settings
from router.domain.decisions import Decision
from router.domain.events import Feedback, Outcome, Snapshot, Status, Write
from router.domain.refold import fold_on
from router.domain.tasks import Task
from router.errors import TaskInvalid
from router.parts import routing_rules
from router.ports import Store

Tell = Callable[[int, int], None]

GROUP = 2_000
"""Decisions to a commit while the log is made."""
_RECORD = 3_000
"""Bytes that a record may take on disk."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What was learned from a whole log at once."""

    records: int
    seconds: float
    cpu_s: float
    per_s: float
    incidents: int


def measure(settings: Settings, records: int, tell: Tell | None = None) -> dict[str, Any]:
    """Make a log in a temporary database beside the configured one, and start the service over it; gone at the end.

    Raises ``TaskInvalid``, ``ConfigurationInvalid``, ``StorageUnavailable``.
    """
    if not 3 <= records <= 100_000_000:
        raise TaskInvalid("records must lie in [3, 100 million]", field="records", remedy="e.g. 100000")
    settings.require_disk("keeps nothing over a restart")
    from router.storage.sql import SqlStore

    steps = 4 * records

    def told(done: float) -> None:
        if tell is not None:
            tell(min(int(done * records), steps), steps)

    with place(settings, room=records * _RECORD) as at:
        here = settings_on(settings, at)
        differing = overrides(settings, at)
        typical = asyncio.run(_first_decision(here))
        empty = restart(differing)
        told(0.5)
        store = SqlStore(at.url, "normal")
        try:
            written_s = fill(store, typical, records, typical.eligible[:30], 20, lambda made: told(0.5 + made / records))
            end = store.last_seq()
            cold = restart(differing)  # from the log's start: the snapshot of the first start is of its first records
            told(2.5)
            learner = Learner(routing_rules(here).half_life_records, trusted=here.trusted)
            folded = fold(store, learner, here.trusted, lambda seq: told(2.5 + seq / end))
            store.save_snapshot(Snapshot(learner.seq, SCHEMA_VERSION, learner.digest(), state.save(learner), time.time()))
        finally:
            store.close()
        warm = restart(differing)
        told(4.0)
        size = at.size()
    return {
        "bench": "fold", **machine(), "database": at.told, "durability": at.durability,
        "records": end, "written_per_s": end / written_s, "bytes_per_record": size / end, "fold": folded,
        "empty": empty, "from_start": cold, "from_snapshot": warm, "same": _same(learner, cold, warm),
    }  # fmt: skip


def fill(
    store: Store, decision: Decision, records: int, models: Sequence[str], types: int, tell: Callable[[int], None] | None = None
) -> float:
    """Write decisions like one, each with outcome and score, on these models; one of them gets worse half-way. Seconds that it took."""
    rng = random.Random(1)
    kinds = [f"type_{n:02}" for n in range(types)]
    begun, numbers = time.perf_counter(), count()
    for done in range(0, records, 3 * GROUP):
        group: list[Write] = []
        for _ in range(min(GROUP, -(-(records - done) // 3))):
            n = next(numbers)
            made = replace(
                decision,
                id=f"dec_{n:032x}",
                at=1.7e9 + n,
                task_type=rng.choice(kinds),
                model=rng.choice(models),
                features=to_bytes(encode(rng.randrange(50, 90_000))),
            )
            good = rng.random() < 0.8 - 0.4 * (n > records / 6 and made.model == models[0])
            group += [
                made,
                Outcome(made.id, Status.OK, made.at + 1, None, rng.lognormvariate(0.7, 0.4), None, 900, rng.randrange(200, 900), 0.001),
                Feedback(f"fb_{n:032x}", made.id, "bench", "quality", float(good), made.at + 2),
            ]
        store.commit(group)
        if tell is not None:
            tell(min(done + len(group), records))
    return time.perf_counter() - begun


def fold(store: Store, learner: Learner, trusted: Sequence[str], tell: Callable[[int], None] | None = None) -> Fold:
    """Fold a log from its start to its end, reading included, as a service does that is far behind."""
    begun, cpu = time.perf_counter(), time.process_time()
    fold_on(store, learner, store.last_seq(), trusted, tell)
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    return Fold(learner.seq, took, used, learner.seq / took, len(learner.incidents))


async def _first_decision(settings: Settings) -> Decision:
    """A log begins with what decisions are taken by: a service that starts and ends writes it."""
    async with running(settings) as services:
        made: Decision = services.routing.decide(Task(task_type="code_generation", context_tokens=1_800))  # type: ignore[attr-defined]
        return replace(made, alternatives=())


def _same(learner: Learner, *starts: Restart) -> bool:
    """Whether all of them have learned the same, to the last bit."""
    return {(start.seq, start.digest) for start in starts} == {(learner.seq, learner.digest())}
