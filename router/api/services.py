"""What the HTTP edge is given to work with."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request

from learning.drift import Incident
from learning.voices import Voices
from router.config import Settings
from router.domain.decisions import Decision
from router.domain.set_aside import SetAside
from router.domain.tasks import Task, Weights
from router.ports import Store
from router.services.audit import AuditService
from router.services.budgets import BudgetService
from router.services.evaluation import EvaluationService
from router.services.execution import ExecutionService
from router.services.feedback import FeedbackService
from router.services.follower import Follower
from router.services.guide import GuideService
from router.services.history import HistoryService
from router.services.judging import JudgingService
from router.services.keys import KeyService
from router.services.lift import LiftService
from router.services.metrics import Metrics
from router.services.models import ModelService
from router.services.pins import PinService
from router.services.planning import PlanningService
from router.services.spending import SpendingService
from router.services.tallying import TallyService
from router.services.texts import TextReader


class Routing(Protocol):
    """Decides."""

    async def route(self, task: Task) -> Decision:
        """A decision that is durable when it is returned."""
        ...


class Training(Protocol):
    """Learns from the log."""

    @property
    def seq(self) -> int:
        """Log position up to which the log is folded."""
        ...

    @property
    def digest(self) -> str: ...

    @property
    def lag(self) -> int:
        """Events committed and not yet folded."""
        ...

    @property
    def lag_s(self) -> float:
        """For how long it has been behind the log."""
        ...

    @property
    def incidents(self) -> Sequence[Incident]:
        """Changes of models that were found, oldest first."""
        ...

    @property
    def set_aside(self) -> Sequence[SetAside]:
        """Records that could never be folded."""
        ...

    @property
    def voices(self) -> Voices:
        """What each judge and source has said and is worth."""
        ...

    def report(self, task_type: str | None = None) -> Any:
        """What is learned, as a tree of dataclasses."""
        ...


class Queue(Protocol):
    """The writer's queue."""

    @property
    def waiting(self) -> int: ...


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Services:
    """One running service: built by ``bootstrap``, started and closed with the application."""

    settings: Settings
    store: Store
    writer: Queue
    models: ModelService
    routing: Routing
    training: Training
    feedback: FeedbackService
    keys: KeyService
    schema_revision: str
    start: Callable[[], Awaitable[None]] = field(default=_nothing)
    close: Callable[[], Awaitable[None]] = field(default=_nothing)
    tallying: TallyService | None = None
    """None: nothing counts the log for reports."""
    guide: GuideService | None = None
    """None: nothing is learned from here."""
    pins: PinService | None = None
    """None: nothing is followed instead of the learner."""
    metrics: Metrics | None = None
    """None: nothing is counted for Prometheus."""
    execution: ExecutionService | None = None
    """None: the service decides and makes no calls."""
    judging: JudgingService | None = None
    """None: no answers are judged in the background."""
    planning: PlanningService | None = None
    """None: no plans are made."""
    spending: SpendingService | None = None
    """None: nobody counts what a day costs."""
    budgets: BudgetService | None = None
    """None: nothing limits what is spent."""
    texts: TextReader | None = None
    """None: decisions do not read what a task says."""
    evaluation: EvaluationService | None = None
    """None: nothing reads the log back, as for the three below."""
    readback: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="readback"))
    """Where questions about the log are answered, one after another: they take seconds, and nothing else must wait for them."""
    lift: LiftService | None = None
    audit: AuditService | None = None
    history: HistoryService | None = None

    followers: Sequence[Follower] = ()
    """Loops beside requests."""
    leads: Callable[[], bool] = field(default=lambda: True)
    """Whether this service does what only one of those on the log should do."""
    bears_outage: Callable[[], bool] = field(default=lambda: False)
    """Whether the log is away and decisions are taken all the same."""

    @property
    def default_weights(self) -> Weights:
        """What a request values that does not say."""
        return Weights(self.settings.weight_quality, self.settings.weight_cost, self.settings.weight_latency)


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.scope["app"].state.services
    return services
