"""Has a share of the executed calls judged in the background, within a budget.

The caller's answer never waits: an observed call costs a draw and, where it is drawn, an entry in a queue. Texts stay in memory until
they are judged and go nowhere else. An answer is drawn with a probability that depends on its task type and model alone, so the scores
that are missing are missing at random; the probability is logged with the score. What it may cost is set aside when it is drawn, so that
everything drawn is judged; where the money or the room is spent, nothing is drawn.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from adapters.errors import AdapterError
from adapters.types import Message
from router.domain.events import Committed, Feedback, Write
from router.domain.orchestration import Outlook
from router.domain.sampling import Sampler, worth
from router.domain.tasks import Task
from router.errors import RouterError
from router.judging.asking import choose
from router.judging.protocol import Answer, Case, Reply
from router.judging.rubric import Rubric
from router.services.calls import Call, Served
from router.services.follower import Follower

MAX_WAITING = 500
AT_ONCE = 2
"""Judge calls under way."""
_FRESH_S = 30.0
"""How long a worth is used before it is worked out anew."""
_DAY_S = 86_400.0
_KEPT_KINDS = 10_000
_RETRY_S = 1.0

log = structlog.get_logger("judging")


class LogWriter(Protocol):
    """Writes one record and returns when it is durable."""

    async def write(self, record: Write) -> Committed: ...


class JudgeCalls(Protocol):
    """Calls of models that judge."""

    def usable(self, model: str) -> bool:
        """Whether a model can be called."""
        ...

    def family(self, model: str) -> str: ...

    def cost_at_most(self, model: str, characters: int) -> float | None:
        """USD of one judgement by a model that reads that many characters; None: its price is unknown."""
        ...

    async def ask(self, model: str, messages: tuple[Message, ...]) -> Reply:
        """Raises ``AdapterError``."""
        ...


@dataclass(frozen=True, slots=True)
class JudgingRules:
    """How much is judged, by whom, for how much."""

    share: float
    """Of the executed calls, in (0, 1]."""
    models: tuple[str, ...]
    """The first that is of another kind than the judged one judges."""
    budget_usd_per_day: float


@dataclass(frozen=True, slots=True)
class Means:
    """What judging reads and uses."""

    outlook: Callable[[Task], Outlook]
    calls: JudgeCalls
    spent_since: Callable[[float], float]
    """USD for scores since a Unix time, from the log; blocks."""
    clock: Callable[[], float]
    new_id: Callable[[str], str]
    rng: random.Random


@dataclass(slots=True)
class JudgingTally:
    """What became of the calls since the service started."""

    seen: int = 0
    drawn: int = 0
    judged: int = 0
    unreadable: int = 0
    """The judge's reply was no score."""
    failed: int = 0
    """The judge's call failed."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """Not drawn whatever the draw, by reason."""
    spent_usd: float = 0.0
    """Today (UTC)."""
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An answer that will be judged; the only place that holds its text."""

    decision_id: str
    judge: str
    case: Case = field(repr=False)
    answer: Answer = field(repr=False)
    probability: float
    reserved_usd: float


class JudgingService:
    """Lives on the event loop of the service."""

    def __init__(self, rules: JudgingRules, writer: LogWriter, means: Means) -> None:
        self.rules = rules
        self.tally = JudgingTally()
        self._writer = writer
        self._means = means
        self._sampler = Sampler(rules.share)
        self._waiting: list[tuple[float, int, _Drawn]] = []
        self._order = itertools.count()
        self._worth: dict[tuple[str, str], tuple[float, float]] = {}
        """Worth and when it was worked out, by task type and model."""
        self._stale: dict[tuple[str, str], Task] = {}
        self._reserved = 0.0
        self._day = 0.0
        self._news = asyncio.Event()
        self.followers = [Follower("judging", self._turn, self._work, retry_s=_RETRY_S) for _ in range(AT_ONCE)]

    async def start(self) -> None:
        """Begin to judge; the day's spending so far is read from the log.

        Raises ``StorageUnavailable``.
        """
        self._day = self._means.clock() // _DAY_S * _DAY_S
        self.tally.spent_usd = await asyncio.to_thread(self._means.spent_since, self._day)
        for follower in self.followers:
            follower.start()

    async def close(self) -> None:
        """Stop; answers that wait are forgotten."""
        for follower in self.followers:
            await follower.close()
        self._waiting.clear()

    def observe(self, call: Call, served: Served) -> None:
        """Perhaps draw an answer. Takes microseconds; raises nothing."""
        self.tally.seen += 1
        model = served.completion.model
        text = served.completion.text
        answer = Answer(text, model, self._means.calls.family(model))
        judge = choose([name for name in self.rules.models if self._means.calls.usable(name)], (answer,))
        length = len(text) + sum(len(message.text) for message in call.request.messages)
        cost = None if judge is None else self._means.calls.cost_at_most(judge, length)
        if (reason := self._unfit(call.request.messages, text, judge, cost)) is not None:
            self.tally.passed_over[reason] = self.tally.passed_over.get(reason, 0) + 1
            return
        value = self._known_worth(call.task, model)
        probability = self._sampler.probability(value)
        if self._means.rng.random() >= probability:
            return
        self.tally.drawn += 1
        self._reserved += cost or 0.0
        case = Case(call.task.task_type, call.request.messages)
        drawn = _Drawn(served.decision.id, judge or "", case, answer, probability, cost or 0.0)
        heapq.heappush(self._waiting, (-(value or 0.0), next(self._order), drawn))
        self.tally.waiting = len(self._waiting)
        self._news.set()

    def _unfit(self, messages: Sequence[Message], text: str, judge: str | None, cost: float | None) -> str | None:
        """Why an answer cannot be drawn, from nothing that its quality depends on but its form."""
        if not text.strip() or any(message.images for message in messages):
            return "no text to judge"
        if judge is None:
            return "no judge of another family can be called"
        if cost is None:
            return "the judge's price is unknown"
        if len(self._waiting) >= MAX_WAITING:
            return "too many wait"
        today = self._means.clock() // _DAY_S * _DAY_S
        if today != self._day:
            self._day, self.tally.spent_usd = today, 0.0
        if self.tally.spent_usd + self._reserved + cost > self.rules.budget_usd_per_day:
            return "the day's budget is spent"
        return None

    def _known_worth(self, task: Task, model: str) -> float | None:
        """What a score is worth, as last worked out; a worker works it out anew where that is old."""
        kind = (task.task_type, model)
        known = self._worth.get(kind)
        if (known is None or self._means.clock() - known[1] > _FRESH_S) and len(self._stale) < _KEPT_KINDS:
            self._stale[kind] = task
            self._news.set()
        return None if known is None else known[0]

    async def _turn(self) -> None:
        while not (self._stale or self._waiting):
            self._news.clear()
            await self._news.wait()

    async def _work(self) -> None:
        if self._stale:
            self._refresh(*self._stale.popitem())
            await asyncio.sleep(0)
        elif self._waiting:
            _, _, drawn = heapq.heappop(self._waiting)
            self.tally.waiting = len(self._waiting)
            await self._judged(drawn)

    def _refresh(self, kind: tuple[str, str], task: Task) -> None:
        if len(self._worth) >= _KEPT_KINDS:
            self._worth.clear()
        try:
            value = worth(self._means.outlook(task), kind[1], task.weights)
        except RouterError as exc:
            log.warning("judging.worth_unknown", task_type=kind[0], model=kind[1], reason=type(exc).__name__)
            value = 0.0
        self._worth[kind] = value, self._means.clock()

    async def _judged(self, drawn: _Drawn) -> None:
        """Ask, and log the score; a judge that fails or cannot be read leaves the answer without one."""
        spent: float | None = None
        try:
            verdict = await Rubric((drawn.judge,)).ask(drawn.case, drawn.answer, self._means.calls.ask)
            spent = verdict.cost_usd
            if verdict.score is None:
                self.tally.unreadable += 1
                return
            await self._writer.write(
                Feedback(
                    id=self._means.new_id("fb"),
                    decision_id=drawn.decision_id,
                    judge=f"{verdict.judge}@{verdict.version}",
                    metric="quality",
                    score=verdict.score,
                    at=self._means.clock(),
                    cost_usd=verdict.cost_usd,
                    sampling=drawn.probability,
                )
            )
            self.tally.judged += 1
        except (AdapterError, RouterError) as exc:
            self.tally.failed += 1
            log.warning("judging.failed", decision_id=drawn.decision_id, reason=type(exc).__name__)
        finally:
            self._reserved -= drawn.reserved_usd
            self.tally.spent_usd += drawn.reserved_usd if spent is None else spent
