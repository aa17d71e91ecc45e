"""Plays the calls of a battery that are left: calls, judges, logs, and compares the answers of all models to one case."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol

import structlog

from adapters.errors import AccessDenied, AdapterError, AdapterUnavailable, ModelNotServed, QuotaExhausted
from adapters.types import Completion, CompletionRequest, Message
from learning.features import SCHEMA_VERSION
from router.domain.battery import Battery, Case, Section, Unit
from router.domain.battery_calls import completion_request, decision_id, features_of, request_of
from router.domain.battery_cost import JUDGE_REPLY_TOKENS, judging_cost, unit_cost
from router.domain.battery_runs import BatteryRun
from router.domain.catalog import Catalog
from router.domain.decisions import Decision
from router.domain.events import Attempt, Committed, CostSource, Feedback, Status, Write
from router.domain.failures import status_of
from router.domain.throttle import Throttle
from router.errors import ConfigurationInvalid, RouterError
from router.judging import registry
from router.judging.protocol import Answer, AskingJudge, Judge, Reply
from router.judging.protocol import Case as Judged
from router.judging.similarity import Similarity, between
from router.services.billing import Billing
from router.services.calls import answered, outcome_of, request_id

POLICY = "battery"
AGREEMENT = "agreement"
"""Metric: how close an answer is to those of the other models to the same case, in the mean."""
_ATTEMPTS = 3
_BACKOFF_S = 0.5
_LONGEST_WAIT_S = 60.0
_FAILURES_IN_A_ROW = 5
_LASTING = (AccessDenied, ModelNotServed, QuotaExhausted, AdapterUnavailable)

log = structlog.get_logger("battery")


class LogWriter(Protocol):
    """The writer in front of the log."""

    def submit(self, record: Write) -> asyncio.Future[Committed]: ...

    async def write(self, record: Write) -> Committed: ...


class Callers(Protocol):
    """The providers that can be called."""

    def adapter(self, model_id: str) -> Any: ...

    def unavailable(self, catalog: Catalog) -> Mapping[str, str]: ...


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    total: int
    done: int = 0
    failed: int = 0
    spent_usd: float = 0.0
    gave_up: dict[str, str] = field(default_factory=dict)
    """Models that were not called any more, each with the name of the error."""
    capped: bool = False
    """The next call might have exceeded the limit of money."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a play works with."""

    writer: LogWriter
    providers: Callers
    catalog: Catalog
    charge: Callable[[str, float], None]
    """Keeps what a judge's call cost in USD, by the run's id; blocks."""
    enter: Callable[[], Awaitable[None]]
    """Makes the log tell which models there are before the first score: one without evidence must not look like one that joined later."""
    clock: Callable[[], float]
    new_id: Callable[[str], str]
    rng: random.Random


class Play:
    """One run under way, on one event loop."""

    def __init__(
        self,
        tools: Tools,
        battery: Battery,
        run: BatteryRun,
        todo: Sequence[Unit],
        progress: Progress,
        *,
        max_usd: float,
        stop: asyncio.Event,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._tools = tools
        self._battery = battery
        self._run = run
        self._todo = todo
        self._progress = progress
        self._max_usd = max_usd
        self._stop = stop
        self._on_progress = on_progress
        self._billing = Billing(lambda model: tools.catalog.get(model).price)
        self._reserved = 0.0
        self._failures: dict[str, int] = {}
        self._throttles: dict[str, Throttle] = {}
        self._cases = {(s.task_type, c.id): (s, c, judged_as(s, c)) for s in battery.sections for c in s.cases}
        self._judges = {s.task_type: judges_of(s) for s in battery.sections}
        self._asked = {task: models_asked(judges) for task, judges in self._judges.items()}
        self._answers: dict[tuple[str, str, int], dict[str, str]] = {}
        self._awaited: dict[tuple[str, str, int], int] = {}
        for unit in todo:
            self._awaited[_key(unit)] = self._awaited.get(_key(unit), 0) + 1

    async def all(self) -> None:
        """Every provider works through its own queue, so that a slow one holds nobody up.

        Raises ``StorageUnavailable``, ``Overloaded``, ``JudgeUnavailable``.
        """
        queues: dict[str, list[Unit]] = {}
        for unit in reversed(self._todo):
            queues.setdefault(_provider(unit), []).append(unit)
        for provider in queues:
            self._throttles[provider] = Throttle(self._battery.limit(provider), monotonic)
        try:
            async with asyncio.TaskGroup() as group:
                for provider, queue in queues.items():
                    for _ in range(min(self._battery.limit(provider).concurrency, len(queue))):
                        group.create_task(self._work(queue))
        except BaseExceptionGroup as exc:
            raise exc.exceptions[0] from None  # the others were cancelled for it

    async def _work(self, queue: list[Unit]) -> None:
        while queue and not self._stop.is_set() and not self._progress.capped:
            unit = queue.pop()
            answer = None if unit.model in self._progress.gave_up else await self._play(unit)
            await self._compare(unit, answer)
            if self._on_progress is not None:
                self._on_progress(self._progress)

    async def _play(self, unit: Unit) -> str | None:
        """Make a call, once; its text, or None where there is none."""
        section, case, _ = self._cases[unit.task_type, unit.case_id]
        cost = unit_cost(self._tools.catalog.get(unit.model), section, case)
        judging = judging_cost(self._asked[unit.task_type], section, case, self._tools.catalog)
        most = (0.0 if cost is None else cost[1]) + (judging or 0.0)
        if self._progress.spent_usd + self._reserved + most > self._max_usd:
            self._progress.capped = True
            return None
        self._reserved += most
        try:
            decision = self._decision(unit, section, case)
            return await self._call(unit, decision) if await self._commit(decision) else None
        finally:
            self._reserved -= most

    def _decision(self, unit: Unit, section: Section, case: Case) -> Decision:
        run = self._run
        return Decision(
            id=decision_id(run.id, unit),
            at=self._tools.clock(),
            task_type=unit.task_type,
            features_schema=SCHEMA_VERSION,
            features=features_of(section, case),
            request=request_of(section, case),
            eligible=(unit.model,),
            propensities=(1.0,),
            model=unit.model,
            propensity=1.0,
            confidence=0.0,
            reason=f"battery {run.name}: every model that suits the task type plays every case",
            policy=POLICY,
            policy_version=run.digest[:12],
            policy_seq=0,
            catalog_version=self._tools.catalog.version,
            forced=True,
            episode_id=run.id,
            tags=(("battery", run.name), ("case", unit.case_id), ("repetition", str(unit.repetition))),
        )

    async def _commit(self, decision: Decision) -> bool:
        """Make a decision durable before its call; False where another process has begun the same call."""
        try:
            await self._tools.writer.write(decision)
        except RouterError as exc:
            if exc.field == "id":
                return False
            raise
        return True

    async def _record(self, writes: Sequence[Write]) -> None:
        """Log what a call did, all of it in one go."""
        await asyncio.gather(*[self._tools.writer.submit(write) for write in writes])

    async def _call(self, unit: Unit, decision: Decision) -> str | None:
        section, case, _ = self._cases[unit.task_type, unit.case_id]
        request, images = completion_request(unit.model, section, case, self._battery.temperature), int(case.image is not None)
        throttle = self._throttles[_provider(unit)]
        for number in range(1, _ATTEMPTS + 1):
            async with throttle.turn():
                attempt = Attempt(decision.id, number, unit.model, Status.OK, self._tools.clock(), forced=True)
                begun = monotonic()
                try:
                    completion: Completion = await self._tools.providers.adapter(unit.model).complete(request)
                except AdapterError as exc:
                    failed = self._billed(_failure(attempt, exc, monotonic() - begun), exc, images)
                    wait = _wait(exc, number)
                    if wait is None:
                        await self._failed(failed, exc, images)
                        return None
                    await self._record([replace(failed, last=False)])
                    if exc.retry_after_s is not None:
                        throttle.rest(wait)
                else:
                    await self._answered(unit, attempt, completion)
                    return completion.text
            await asyncio.sleep(wait * self._tools.rng.uniform(1.0, 1.5))
        return None

    async def _answered(self, unit: Unit, attempt: Attempt, completion: Completion) -> None:
        """Judge an answer, and log the call with its scores."""
        _, case, judged = self._cases[unit.task_type, unit.case_id]
        images = int(case.image is not None)
        cost, source = self._billing.cost(completion, images)
        self._progress.spent_usd += cost or 0.0
        self._failures[unit.model] = 0
        attempt, at = answered(attempt, completion, cost), self._tools.clock()
        outcome = outcome_of(attempt, at, decided=unit.model, source=source, images=images, completion=completion)
        await self._record([attempt, outcome, *await self._scores(unit, attempt.decision_id, judged, completion.text)])
        self._progress.done += 1

    async def _scores(self, unit: Unit, decision: str, judged: Judged, text: str) -> list[Feedback]:
        """What every judge says; one that cannot come to a score says nothing."""
        answer = Answer(text, unit.model, self._tools.catalog.get(unit.model).family)
        scores: list[Feedback] = []
        for metric, judge in self._judges[unit.task_type]:
            try:
                verdict = await registry.verdict(judge, judged, answer, self._ask)
            except AdapterError as exc:
                log.warning("battery.judge_failed", judge=judge.name, error=type(exc).__name__)
                continue
            if verdict.cost_usd:
                self._progress.spent_usd += verdict.cost_usd
                await asyncio.to_thread(self._tools.charge, self._run.id, verdict.cost_usd)
            judge_name = f"{verdict.judge}@{verdict.version}"
            if verdict.score is not None:
                scores.append(replace(self._feedback(decision, judge_name, metric, verdict.score), cost_usd=verdict.cost_usd or None))
            scores += [self._feedback(decision, judge_name, part, score) for part, score in verdict.parts.items() if part != metric]
        return scores

    def _feedback(self, decision: str, judge: str, metric: str, score: float) -> Feedback:
        return Feedback(self._tools.new_id("fb"), decision, judge, metric, score, self._tools.clock())

    async def _ask(self, model: str, messages: tuple[Message, ...]) -> Reply:
        request = CompletionRequest(model, messages, max_output_tokens=JUDGE_REPLY_TOKENS)
        completion = await self._tools.providers.adapter(model).complete(request)
        return Reply(completion.text, self._billing.cost(completion, 0)[0])

    def _billed(self, attempt: Attempt, exc: AdapterError, images: int) -> Attempt:
        """A failed attempt with what the provider says that it bills all the same."""
        if exc.usage is None:
            return attempt
        cost = self._billing.cost_of_part(attempt.model, exc.usage, images)
        self._progress.spent_usd += cost or 0.0
        return replace(attempt, input_tokens=exc.usage.input_tokens, output_tokens=exc.usage.output_tokens, cost_usd=cost)

    async def _failed(self, attempt: Attempt, exc: AdapterError, images: int) -> None:
        at = self._tools.clock()
        await self._record([attempt, outcome_of(attempt, at, decided=attempt.model, source=CostSource.COMPUTED, images=images)])
        self._progress.failed += 1
        model = attempt.model
        self._failures[model] = self._failures.get(model, 0) + 1
        if isinstance(exc, _LASTING) or self._failures[model] >= _FAILURES_IN_A_ROW:
            self._progress.gave_up[model] = type(exc).__name__
            log.warning("battery.model_given_up", model=model, error=type(exc).__name__)

    async def _compare(self, unit: Unit, text: str | None) -> None:
        """When all models have answered a case: how close each answer is to the others."""
        key = _key(unit)
        if text is not None:
            self._answers.setdefault(key, {})[decision_id(self._run.id, unit)] = text
        self._awaited[key] -= 1
        if self._awaited[key]:
            return
        answers = self._answers.pop(key, {})
        if len(answers) < 2:
            return
        table = await asyncio.to_thread(between, list(answers.values()), self._battery.measure)
        others = ((table.sum(axis=1) - 1.0) / (len(answers) - 1)).clip(0.0, 1.0)
        compared = Similarity(self._battery.measure)
        judge = f"{compared.name}@{compared.version}"
        await self._record([self._feedback(name, judge, AGREEMENT, score) for name, score in zip(answers, others.tolist(), strict=True)])


def judges_of(section: Section) -> list[tuple[str, Judge | AskingJudge]]:
    """The judges of a section with their metrics.

    Raises ``ConfigurationInvalid``, ``JudgeUnavailable``.
    """
    return [(use.metric, registry.make(use.judge, **use.options)) for use in section.judges]


def judged_as(section: Section, case: Case) -> Judged:
    """The case as judges read it.

    Raises ``ConfigurationInvalid`` where it names a field that no judge reads.
    """
    try:
        return Judged(section.task_type, (Message("user", case.prompt),), reference=case.reference, **case.expect)
    except TypeError as exc:
        known = [name for name in Judged.__dataclass_fields__ if name not in ("task_type", "messages", "reference")]
        raise ConfigurationInvalid(
            "a case expects what no judge reads", field=f"{section.task_type}.cases.expect", remedy=f"use {', '.join(known)}"
        ) from exc


async def try_out(battery: Battery) -> None:
    """Have every judge that asks nobody score one right answer, before anything is paid for.

    Raises ``ConfigurationInvalid`` where a case lacks what a judge goes by, ``JudgeUnavailable`` where a judge cannot work here.
    """
    compared = registry.make("similarity", measure=battery.measure)
    first = battery.sections[0].cases[0]
    await registry.verdict(compared, Judged("", reference=first.reference), Answer(first.reference))
    for section in battery.sections:
        case = section.cases[0]
        for _, judge in judges_of(section):
            if isinstance(judge, AskingJudge):
                continue
            verdict = await registry.verdict(judge, judged_as(section, case), Answer(case.reference))
            if verdict.score is None:
                raise ConfigurationInvalid(
                    f"the judge {judge.name} cannot score the case {case.id}: {verdict.reason}",
                    field=f"{section.task_type}.cases.expect",
                    remedy="add what it goes by, or name another judge",
                )


def models_asked(judges: Sequence[tuple[str, Judge | AskingJudge]]) -> tuple[str, ...]:
    """Models that some of the judges ask."""
    return tuple(model for _, judge in judges if isinstance(judge, AskingJudge) for model in getattr(judge, "models", ()))


def _failure(attempt: Attempt, exc: AdapterError, latency_s: float) -> Attempt:
    return replace(
        attempt,
        status=status_of(exc),
        error=type(exc).__name__,
        http_status=exc.status,
        latency_s=latency_s,
        request_id=request_id(exc.request_id),
    )


def _wait(exc: AdapterError, number: int) -> float | None:
    """Seconds until the next attempt; None: give up."""
    wait = exc.retry_after_s if exc.retry_after_s is not None else _BACKOFF_S * 2 ** (number - 1)
    return wait if number < _ATTEMPTS and exc.retryable and wait <= _LONGEST_WAIT_S else None


def _provider(unit: Unit) -> str:
    return unit.model.partition("/")[0]


def _key(unit: Unit) -> tuple[str, str, int]:
    return unit.task_type, unit.case_id, unit.repetition
