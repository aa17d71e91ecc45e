"""Plans orchestrations from what is learned so far, and logs a decision for every agent of a plan."""

import asyncio
from collections.abc import Callable, Container
from typing import Protocol

from router.domain.decisions import Decision
from router.domain.events import Committed, Write
from router.domain.orchestration import Orchestration, Outlook, Plan
from router.domain.planning import plan
from router.domain.tasks import Task

_TOGETHER = 500
"""Writes handed over at a time, so that one plan leaves room in the queue for others."""


class Routing(Protocol):
    """Knows what to expect of each model, and makes decisions of what a plan says."""

    def outlook(self, task: Task) -> Outlook: ...

    def planned(self, task: Task, model_id: str, count: int, reason: str) -> list[Decision]: ...


class LogWriter(Protocol):
    """Writes one record and returns when it is durable."""

    async def write(self, record: Write) -> Committed: ...


class PlanningService:
    """Plans and commits plans. Lives on one event loop; only the solver runs beside it."""

    def __init__(self, routing: Routing, writer: LogWriter, known: Callable[[], Container[str]]) -> None:
        self._routing = routing
        self._writer = writer
        self._known = known

    async def plan(self, wanted: Orchestration) -> Plan:
        """Assign a model to every agent. Raises what ``router.domain.planning.plan`` raises, and ``TaskInvalid``."""
        outlooks = []
        for group in wanted.agents:
            outlooks.append(self._routing.outlook(group.task))
            await asyncio.sleep(0)  # hundreds of groups must not hold up other requests
        return await asyncio.to_thread(plan, wanted, outlooks, self._known())

    async def commit(self, wanted: Orchestration, made: Plan) -> list[tuple[str, Decision]]:
        """Log one forced decision per agent, and return them with their group's name when all are durable.

        Raises ``Overloaded``, ``StorageUnavailable``.
        """
        decided: list[tuple[str, Decision]] = []
        for line in made.assigned:
            task = wanted.agents[line.group].task
            reason = f"planned: one of {line.count} {line.agents} of {made.agents} agents, goal {made.goal}"
            decided += [(line.agents, one) for one in self._routing.planned(task, line.model, line.count, reason)]
            await asyncio.sleep(0)
        for start in range(0, len(decided), _TOGETHER):
            await asyncio.gather(*(self._writer.write(decision) for _, decision in decided[start : start + _TOGETHER]))
        return decided
