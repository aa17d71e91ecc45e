"""How many decisions a second this machine makes durable, how long each takes, and what its database could do at most."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from router.api.services import Services
from router.bench.service import machine, place, running, settings_on
from router.bench.waits import Pace, Waits
from router.config import Settings
from router.domain.decisions import Decision
from router.domain.events import Feedback, Group, Outcome, Status
from router.domain.ids import new_id
from router.domain.tasks import TASK_TYPES, Task
from router.errors import TaskInvalid
from router.services.routing import RoutingService
from router.serving import fastest_loop
from router.storage.writer import GroupCommitWriter

if TYPE_CHECKING:
    from router.storage.raw import Commit

Tell = Callable[[int, int], None]

KINDS = TASK_TYPES[:20]
"""Those that need no images."""
EVIDENCE = 600
"""Calls with outcome and score that the service has learned from before it is measured."""
_ROUNDS = 3
_WARM = 0.2
"""Of the time measured, before it."""
_ROW = 3_000
"""Bytes that a decision takes on disk, about."""
_PER_S = 20_000
"""Rows that a disk takes at most, about."""
_POSITIONS = count(1)
"""Of rows that are written raw."""


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """What to measure."""

    models: int | None = None
    """Active models; None: the whole catalogue."""
    callers: Sequence[int] = (1, 64)
    """How many wait for an answer at the same time, in turns."""
    seconds: float = 3.0
    """For each figure."""


def measure(settings: Settings, plan: RoutingPlan, tell: Tell | None = None) -> dict[str, Any]:
    """Measure on a temporary database beside the configured one, which is gone when this returns or fails.

    Raises ``TaskInvalid`` naming the option, ``ConfigurationInvalid``, ``StorageUnavailable``.
    """
    _check(plan)
    room = int(2 * _ROW * _PER_S * plan.seconds * len(plan.callers))
    with place(settings, room=room) as at, asyncio.Runner(loop_factory=fastest_loop()) as runner:
        measured = runner.run(_measure(settings_on(settings, at), plan, tell or _unheard))
    return {"bench": "routing", **machine(), "database": at.told, "durability": at.durability, "seconds": plan.seconds, **measured}


def tasks(count: int, seed: int = 0) -> list[Task]:
    """Tasks of every type, of 50 to 90,000 tokens, that weigh cost and latency."""
    rng = np.random.default_rng([seed, 31])
    tokens = np.exp(rng.uniform(np.log(50), np.log(90_000), count)).astype(int)
    return [
        Task(KINDS[i % len(KINDS)], int(tokens[i]), expected_output_tokens=int(rng.integers(50, 800)), tags=(("team", "bench"),))
        for i in range(count)
    ]


async def learn(services: Services, calls: int = EVIDENCE, seed: int = 1) -> None:
    """Have calls of every task type with their outcomes and scores learned."""
    routing, writer = _routing(services), _writer(services)
    rng = np.random.default_rng([seed, 32])
    for task in tasks(calls, seed):
        made = routing.decide(task)
        outcome = Outcome(made.id, Status.OK, made.at + 1, None, float(rng.lognormal(0.7, 0.4)), None, task.context_tokens, 300)
        score = Feedback(new_id("fb"), made.id, "bench", "quality", float(rng.random()), made.at + 2)
        await asyncio.gather(*(writer.write(record) for record in (made, outcome, score)))


async def _measure(settings: Settings, plan: RoutingPlan, tell: Tell) -> dict[str, Any]:
    async with running(settings, models=plan.models) as services:
        if plan.models is not None and len(services.models.catalog.active) < plan.models:
            raise TaskInvalid(
                f"the catalogue has {len(services.models.catalog.active)} active models",
                field="models",
                remedy="ask for no more than that, or add models with POINTSMAN_CATALOG_FILE",
            )
        done = count()
        steps = 2 + 3 * _ROUNDS * len(plan.callers)

        def step() -> None:
            tell(next(done), steps)

        step()
        await learn(services)
        step()
        asked = tasks(2_000)
        routing, writer = _routing(services), _writer(services)
        typical = replace(routing.decide(asked[0]), alternatives=())
        decide = _deciding(routing, asked, min(plan.seconds, 2.0))
        step()
        with nullcontext() if settings.in_memory else _raw(settings) as commit:
            rows = [await _turn(routing, writer, asked, typical, callers, plan.seconds, commit, step) for callers in plan.callers]
        eligible = np.mean([len(routing.decide(task).eligible) for task in asked[:200]])
        return {"policy": settings.policy, "models": float(eligible), "task_types": len(KINDS), "decide": decide, "by_callers": rows}


async def _turn(
    routing: RoutingService,
    writer: GroupCommitWriter,
    asked: Sequence[Task],
    typical: Decision,
    callers: int,
    seconds: float,
    commit: "Commit | None",
    step: Callable[[], None],
) -> dict[str, Any]:
    """The three figures of one number of callers, in rounds, so that what else the machine does meets all alike."""
    number = count()
    route, log, raw = Waits(), Waits(), Waits()

    async def one_route() -> None:
        await routing.route(asked[next(number) % len(asked)])

    async def one_write() -> None:
        await writer.write(replace(typical, id=new_id("dec")))

    for _ in range(_ROUNDS):
        await _wait_until(route, writer, callers, seconds / _ROUNDS, one_route)
        step()
        await _wait_until(log, writer, callers, seconds / _ROUNDS, one_write)
        step()
        if commit is not None:
            await _commit_until(raw, commit, typical, max(1, round(float(np.mean(log.groups)))), seconds / _ROUNDS)
        step()
    made = {"callers": callers, "route": route.pace(), "log": log.pace(), "raw": None if commit is None else raw.pace()}
    for name, waits in (("route", route), ("log", log)):
        made[f"{name}_share_of_raw"] = None if commit is None else waits.pace().per_s / raw.pace().per_s
    return made


def _deciding(routing: RoutingService, asked: Sequence[Task], seconds: float) -> Pace:
    """Decisions alone, one after another: nothing is logged."""
    made = Waits()
    cpu, begun = time.process_time(), time.perf_counter()
    while not made.waits or time.perf_counter() - begun < seconds:
        at = time.perf_counter()
        routing.decide(asked[len(made.waits) % len(asked)])
        made.waits.append(time.perf_counter() - at)
    made.took, made.used, made.rows = time.perf_counter() - begun, time.process_time() - cpu, len(made.waits)
    return made.pace()


async def _wait_until(into: Waits, writer: GroupCommitWriter, callers: int, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """``callers`` at once, each waiting for its answer; a fifth of the time again to warm up before."""
    waits: list[float] = []
    told = writer.on_commit

    def heard(group: Group) -> None:
        into.groups.append(group.last - group.first + 1)
        if told is not None:
            told(group)

    async def caller(until: float) -> None:
        begun = time.perf_counter()
        while True:  # once at least: a busy machine may take longer to come here
            await act()
            waits.append((now := time.perf_counter()) - begun)
            if now >= until:
                return
            begun = now

    async def all_until(until: float) -> None:
        try:
            async with asyncio.TaskGroup() as together:
                for _ in range(callers):
                    together.create_task(caller(until))
        except ExceptionGroup as several:  # they fail alike: one says it
            raise several.exceptions[0] from None

    await all_until(time.perf_counter() + _WARM * seconds)
    waits.clear()
    writer.on_commit = heard
    try:
        cpu, begun = time.process_time(), time.perf_counter()
        await all_until(begun + seconds)
        into.took += time.perf_counter() - begun
        into.used += time.process_time() - cpu
    finally:
        writer.on_commit = told
    into.waits += waits
    into.rows += len(waits)


@contextmanager
def _raw(settings: Settings) -> "Iterator[Commit]":
    from router.storage.raw import raw_commits  # here: a store in memory needs no driver

    with raw_commits(settings.database_url, settings.durability) as commit:
        yield commit


async def _commit_until(into: Waits, commit: "Commit", decision: Decision, group: int, seconds: float) -> None:
    """The driver alone, ready-made rows, in groups as large as the log's were; warmed up likewise."""
    enough = threading.Event()
    for waits, lasting in ((Waits(), _WARM * seconds), (into, seconds)):
        committing = asyncio.ensure_future(asyncio.to_thread(_commit_in_thread, waits, commit, decision, group, lasting, enough))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            enough.set()
            await committing  # nobody closes the connection under it
            raise


def _commit_in_thread(into: Waits, commit: "Commit", decision: Decision, group: int, seconds: float, enough: threading.Event) -> None:
    from router.storage.raw import row_of

    until = time.perf_counter() + seconds
    while not into.waits or (time.perf_counter() < until and not enough.is_set()):
        rows = [row_of(next(_POSITIONS), replace(decision, id=new_id("dec"))) for _ in range(group)]  # ready before the clock starts
        cpu, begun = time.process_time(), time.perf_counter()
        commit(rows)
        took = time.perf_counter() - begun
        into.used += time.process_time() - cpu
        into.took += took
        into.waits.append(took)
        into.groups.append(group)
        into.rows += group


def _routing(services: Services) -> RoutingService:
    return cast(RoutingService, services.routing)


def _writer(services: Services) -> GroupCommitWriter:
    return cast(GroupCommitWriter, services.writer)


def _check(plan: RoutingPlan) -> None:
    if not 0 < plan.seconds <= 600:
        raise TaskInvalid("seconds must be above 0 and at most 600", field="seconds", remedy="e.g. 3")
    if not plan.callers or not all(1 <= callers <= 5_000 for callers in plan.callers):
        raise TaskInvalid("each number of callers must lie in [1, 5000]", field="callers", remedy="e.g. --callers 1,64")
    if plan.models is not None and plan.models < 1:
        raise TaskInvalid("models must be at least 1", field="models", remedy="e.g. 40, or leave it out for the whole catalogue")


def _unheard(_done: int, _total: int) -> None:
    return None
