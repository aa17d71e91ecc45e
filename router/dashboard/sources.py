"""What the pages are made from."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from learning.drift import Incident
from learning.rules import PolicyReport
from learning.voices import Voices
from router.domain.budgets import Budgets
from router.domain.catalog import Catalog
from router.domain.spending import DayStanding
from router.domain.tasks import Weights
from router.ports import Store
from router.services.audit import AuditService
from router.services.evaluation import EvaluationService
from router.services.history import HistoryService
from router.services.keys import KeyService
from router.services.lift import LiftService

T = TypeVar("T")
REPORT_AGE_S = 2.0
"""A report on everything learned may be this old: making one takes some ten milliseconds of the event loop."""


class Training(Protocol):
    """What is learned."""

    @property
    def seq(self) -> int: ...

    @property
    def lag(self) -> int: ...

    @property
    def incidents(self) -> Sequence[Incident]: ...

    @property
    def voices(self) -> Voices:
        """What each judge has said and is worth."""
        ...

    def report(self, task_type: str | None = None) -> PolicyReport: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts of the service that the pages read; they change nothing."""

    store: Store
    training: Training
    catalog: Callable[[], Catalog]
    keys: KeyService
    weights: Weights
    """What a request values that does not say."""
    counted: Callable[[], int]
    """Log position up to which the tallies are known to count."""
    clock: Callable[[], float]
    readback: Executor
    """Where questions about the log are answered, one after another."""
    day: Callable[[], DayStanding | None]
    """How the day's budget stands; None where there is none."""
    limits: Callable[[], Budgets]
    """The limits on money that hold."""
    status_of: Callable[[Exception], int]
    """The HTTP status of a refusal."""
    evaluation: EvaluationService | None = None
    audit: AuditService | None = None
    history: HistoryService | None = None
    lift: LiftService | None = None
    baseline: str | None = None
    """The model that a share of the traffic is held back on; None: no traffic is."""

    async def read_back(self, question: Callable[[], T]) -> T:
        """The answer to a question that keeps a core busy for seconds."""
        return await asyncio.get_running_loop().run_in_executor(self.readback, question)

    @property
    def beat(self) -> str:
        """Changes with whatever a page shows."""
        return f"{self.training.seq}.{self.counted()}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A position of the log; time and decision where a decision stands there."""

    seq: int
    at: float | None
    decision_id: str | None


class Learned:
    """The report on all task types, made anew where something was learned since and the last one has some age; moments once read."""

    def __init__(self, training: Training, clock: Callable[[], float]) -> None:
        self._training = training
        self._clock = clock
        self._made: tuple[float, PolicyReport] | None = None
        self.moments: dict[int, Moment] = {}
        self.savings: dict[str, tuple[float, int, Any]] = {}
        """Comparisons with one model for everything, by the model: when they were made, up to which log position; "" is the lift."""

    def report(self) -> PolicyReport:
        """As of at most ``REPORT_AGE_S`` ago."""
        now = self._clock()
        if self._made is None or (self._made[1].seq != self._training.seq and not 0 <= now - self._made[0] < REPORT_AGE_S):
            self._made = now, self._training.report()
        return self._made[1]
