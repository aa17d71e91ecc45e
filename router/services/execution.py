"""Executes what routing decides: one decision, the provider calls it takes, and rows for what they did.

The decision's commit runs beside the provider's call and is awaited before anything leaves. Retries and fallbacks happen here and
nowhere else, and never once a piece of the answer has left.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Any, Protocol

import structlog

from adapters.errors import AccessDenied, AdapterError, ContextTooLong, MalformedResponse, ModelNotServed, ProviderTimeout, RequestRejected
from adapters.types import Completion, CompletionRequest, Delta, TextDelta
from router.domain.breaker import Breakers, RetryBudget
from router.domain.calling import Calling
from router.domain.classify import estimate_tokens
from router.domain.decisions import Decision
from router.domain.episodes import Last
from router.domain.events import Attempt, Committed, CostSource, Outcome, Status, Write
from router.domain.models import Price
from router.domain.prices import Billed, cost_of
from router.domain.tasks import Task
from router.errors import AllModelsBusy, AllModelsFailed, RequestRefused, RouterError
from router.ports import Store
from router.services.providers import Providers

EPISODES_REMEMBERED = 10_000
_BACKOFF_S = 0.1

log = structlog.get_logger("execution")


class LogWriter(Protocol):
    """The writer in front of the log."""

    def submit(self, record: Write) -> asyncio.Future[Committed]: ...


class Routing(Protocol):
    """Decides, and names the next model where one fails."""

    def decide(self, task: Task, calling: Calling | None = None) -> Decision: ...

    def next_best(self, task: Task, calling: Calling, tried: set[str]) -> str | None: ...


class Purse(Protocol):
    """What the caller's key may still spend."""

    async def reserve(self, key_id: str | None, usd: float) -> Any: ...

    def settle(self, reservation: Any, usd: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class ExecutionRules:
    """How far one request may go."""

    max_attempts: int = 3
    retry_share: float = 0.1
    """Further attempts per request, over all traffic."""
    longest_wait_s: float = 5.0
    """A provider that asks for more is not waited for."""


@dataclass(frozen=True, slots=True)
class Call:
    """What to execute; the request's model is filled in by the decision."""

    task: Task
    request: CompletionRequest
    model: str | None = None
    """The one that the caller names."""
    may_switch: bool = True
    """Another model may answer where the first fails."""
    key_id: str | None = None
    """Whose budget pays."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream's first piece is there and the decision is durable."""

    decision: Decision
    model: str


@dataclass(frozen=True, slots=True)
class Served:
    """A whole answer, and what it took."""

    decision: Decision
    completion: Completion
    cost_usd: float | None
    attempts: tuple[Attempt, ...]


class ExecutionService:
    """Makes the calls. Lives on one event loop."""

    def __init__(
        self,
        routing: Routing,
        writer: LogWriter,
        store: Store,
        providers: Providers,
        purse: Purse,
        rules: ExecutionRules,
        *,
        price: Callable[[str], Price | None],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.providers = providers
        self._routing = routing
        self._writer = writer
        self._store = store
        self._purse = purse
        self._rules = rules
        self._price = price
        self._clock = clock
        self._rng = rng
        self._breakers = Breakers(rng)
        self._budget = RetryBudget(rules.retry_share)
        self._episodes: OrderedDict[str, Last] = OrderedDict()

    async def complete(self, call: Call) -> Served:
        """Answer a request whole.

        Raises what deciding raises, ``RequestRefused``, ``AllModelsFailed``; cancellation passes through and is logged.
        """
        run = await self._begin(call)
        while True:
            tried = run.start()
            try:
                completion = await self.providers.adapter(tried.model).complete(run.request)
            except AdapterError as exc:
                await run.after(tried, exc)
                continue
            except asyncio.CancelledError:
                run.left(tried)
                raise
            served = run.served(tried, completion)
            await run.committed
            return served

    async def stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Served, None]:
        """Answer a request piece by piece: ``Opened``, the pieces, ``Served``. Close it to leave early.

        Raises as ``complete`` does, and ``AllModelsFailed`` where the stream breaks after its first piece.
        """
        run = await self._begin(call)
        while True:
            tried = run.start()
            opened = False
            try:
                async with aclosing(self.providers.stream(run.request)) as events:
                    async for event in events:
                        if not opened:
                            await run.committed
                            opened = True
                            yield Opened(run.decision, tried.model)
                        if isinstance(event, Completion):
                            yield run.served(tried, event)
                            return
                        tried.note(event)
                        yield event
                raise MalformedResponse("the stream ended without an answer", model=tried.model)
            except AdapterError as exc:
                if opened:
                    raise run.broken(tried, exc) from None
                await run.after(tried, exc)
            except (asyncio.CancelledError, GeneratorExit):
                run.left(tried)
                raise

    async def close(self) -> None:
        """Give back connections."""
        await self.providers.close()

    async def _begin(self, call: Call) -> "_Run":
        last = await self._last(call.task.episode_id)
        resting = self._breakers.resting(monotonic())
        decision = self._routing.decide(call.task, Calling(resting, call.model, last))
        most = decision.expected.cost_usd if decision.expected is not None else None
        reserved = await self._purse.reserve(call.key_id, 0.0 if most is None else most.high)
        try:
            committed = self._writer.submit(decision)
        except RouterError:
            self._purse.settle(reserved, 0.0)
            raise
        self._budget.request()
        return _Run(self, call, decision, committed, lambda usd: self._purse.settle(reserved, usd))

    async def _last(self, episode_id: str | None) -> Last | None:
        if episode_id is None:
            return None
        if episode_id in self._episodes:
            self._episodes.move_to_end(episode_id)
            return self._episodes[episode_id]
        found = await asyncio.to_thread(self._store.decisions, limit=1, episode_id=episode_id)
        for record in found:
            if record.outcome is not None and record.outcome.status is Status.OK:
                tokens = int(record.decision.request.get("context_tokens", 0))
                return Last(record.outcome.model or record.decision.model, record.outcome.at, tokens)
        return None

    def remember(self, task: Task, model: str) -> None:
        """Keep what an episode's prompt may be cached by."""
        if task.episode_id is None:
            return
        self._episodes[task.episode_id] = Last(model, self._clock(), task.context_tokens)
        self._episodes.move_to_end(task.episode_id)
        if len(self._episodes) > EPISODES_REMEMBERED:
            self._episodes.popitem(last=False)

    def record(self, record: Write) -> None:
        """Log what happened; where the log does not take it, the decision stays without an outcome: unknown."""
        try:
            self._writer.submit(record).add_done_callback(_recorded)
        except RouterError as exc:
            log.warning("execution.not_recorded", record=type(record).__name__, reason=type(exc).__name__)

    # the parts of a run that are the service's: circuits, prices and the budget are shared by all requests

    def note(self, model: str, exc: AdapterError | None) -> None:
        """Tell the model's circuit how a call ended."""
        if exc is None:
            self._breakers.succeeded(model)
        elif not exc.elsewhere:
            self._breakers.left(model)
        elif self._breakers.failed(model, monotonic(), lasting=not exc.retryable and not isinstance(exc, ContextTooLong)):
            log.warning("execution.circuit_opened", model=model, error=type(exc).__name__)

    def passed_by(self, model: str) -> None:
        """A call was left by its caller."""
        self._breakers.left(model)

    def admit(self, model: str) -> bool:
        """Whether a call of the model may start now."""
        return self._breakers.admit(model, monotonic())

    async def onward(self, call: Call, tried: set[str], failed: str, exc: AdapterError, number: int) -> str | None:
        """The model of the next attempt, after the wait that it takes; None: give up."""
        if number >= self._rules.max_attempts:
            return None
        if call.may_switch:
            other = self._routing.next_best(call.task, Calling(self._breakers.resting(monotonic())), tried)
            if other is not None and (isinstance(exc, ContextTooLong) or self._budget.spend()):  # a long request is no outage
                return other
        if not exc.retryable:
            return None
        wait = exc.retry_after_s if exc.retry_after_s is not None else _BACKOFF_S * 2 ** (number - 1)
        if wait > self._rules.longest_wait_s or failed in self._breakers.resting(monotonic() + wait) or not self._budget.spend():
            return None
        await asyncio.sleep(wait * self._rng.uniform(1.0, 1.5))
        return failed

    def cost(self, completion: Completion, images: int) -> tuple[float | None, CostSource | None]:
        """What a call cost: as the provider says, else its usage at the price in force; None where that is unknown."""
        if completion.cost_usd is not None:
            return completion.cost_usd, CostSource.REPORTED
        usage = completion.usage
        billed = Billed(
            None if usage is None else usage.input_tokens,
            None if usage is None else usage.output_tokens,
            0 if usage is None else usage.cached_input_tokens,
            0 if usage is None else usage.cache_write_tokens,
            0 if usage is None else usage.reasoning_tokens,
            images,
            completion.compute_s,
        )
        cost = cost_of(self._price(completion.model), billed)
        return cost, None if cost is None else CostSource.COMPUTED

    def cost_of_part(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """About what a call cost that was left."""
        return cost_of(self._price(model), Billed(input_tokens, output_tokens))

    @property
    def now(self) -> float:
        """Unix time."""
        return self._clock()


class _Tried:
    """One attempt under way."""

    def __init__(self, model: str, at: float) -> None:
        self.model = model
        self.at = at
        self.begun = perf_counter()
        self.first: float | None = None
        self.text: list[str] = []

    def note(self, delta: Delta) -> None:
        if self.first is None:
            self.first = perf_counter()
        self.text.append(delta.text if isinstance(delta, TextDelta) else getattr(delta, "arguments", "") or getattr(delta, "text", ""))

    @property
    def elapsed_s(self) -> float:
        return perf_counter() - self.begun

    @property
    def ttft_s(self) -> float | None:
        return None if self.first is None else self.first - self.begun


class _Run:
    """One request on its way through its attempts."""

    def __init__(
        self,
        service: ExecutionService,
        call: Call,
        decision: Decision,
        committed: asyncio.Future[Committed],
        settle: Callable[[float | None], None],
    ) -> None:
        self.decision = decision
        self.committed = committed
        self.request = replace(call.request, model=decision.model)
        self._service = service
        self._call = call
        self._settle = settle
        self._done = False
        self._images = sum(len(message.images) for message in call.request.messages)
        self._made: list[Attempt] = []
        self._names: set[str] = set()
        self._refused: list[AdapterError] = []
        committed.add_done_callback(_recorded)
        service.admit(decision.model)

    def start(self) -> _Tried:
        """Begin the next attempt."""
        self._names.add(self.request.model)
        return _Tried(self.request.model, self._service.now)

    async def after(self, tried: _Tried, exc: AdapterError) -> None:
        """Note a failure, and turn to the next attempt.

        Raises ``RequestRefused`` or ``AllModelsFailed`` where there is none.
        """
        self._service.note(tried.model, exc)
        self._refused.append(exc)
        following = None
        if exc.elsewhere:
            try:
                following = await self._service.onward(self._call, self._names, tried.model, exc, len(self._made) + 1)
            except asyncio.CancelledError:
                self._failed(tried, exc, last=True)
                raise
        if following is None or not self._service.admit(following):
            self._failed(tried, exc, last=True)
            await self.committed
            raise self._refusal(exc)
        self._failed(tried, exc, last=False)
        self.request = replace(self.request, model=following)

    def broken(self, tried: _Tried, exc: AdapterError) -> AllModelsFailed:
        """Note a failure after the first piece: nothing can take over, for the caller has the beginning of an answer."""
        self._service.note(tried.model, exc)
        self._failed(tried, exc, last=True)
        return AllModelsFailed(
            "the answer broke off", remedy="send the request again", attempts=tuple((a.model, a.error or "") for a in self._made)
        )

    def left(self, tried: _Tried) -> None:
        """Note that the caller is gone, with the usage so far by our own count."""
        if self._done:
            return  # the whole answer was there
        self._service.passed_by(tried.model)
        read, made = self._call.task.context_tokens, estimate_tokens("".join(tried.text))
        cost = self._service.cost_of_part(tried.model, read, made)
        attempt = replace(
            self._attempt(tried, Status.CANCELLED, tried.elapsed_s),
            ttft_s=tried.ttft_s,
            input_tokens=read,
            output_tokens=made,
            cost_usd=cost,
            estimated=True,
        )
        self._finish(attempt, None if cost is None else CostSource.COMPUTED)

    def served(self, tried: _Tried, completion: Completion) -> Served:
        """Note an answer."""
        self._service.note(tried.model, None)
        cost, source = self._service.cost(completion, self._images)
        usage = completion.usage
        attempt = replace(
            self._attempt(tried, Status.OK, completion.latency_s),
            ttft_s=completion.ttft_s,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            cached_input_tokens=None if usage is None else usage.cached_input_tokens,
            reasoning_tokens=None if usage is None else usage.reasoning_tokens,
            cost_usd=cost,
            request_id=None if completion.request_id is None else completion.request_id[:128],
        )
        self._finish(attempt, source, completion)
        self._service.remember(self._call.task, tried.model)
        return Served(self.decision, completion, cost, tuple(self._made))

    def _attempt(self, tried: _Tried, status: Status, latency_s: float) -> Attempt:
        number = len(self._made) + 1
        return Attempt(
            self.decision.id, number, tried.model, status, tried.at, forced=number > 1 or self.decision.forced, latency_s=latency_s
        )

    def _failed(self, tried: _Tried, exc: AdapterError, *, last: bool) -> None:
        attempt = replace(
            self._attempt(tried, _status(exc), tried.elapsed_s),
            last=last,
            error=type(exc).__name__,
            http_status=exc.status,
            ttft_s=tried.ttft_s,
            request_id=None if exc.request_id is None else exc.request_id[:128],
        )
        if last:
            self._finish(attempt, None)
        else:
            self._made.append(attempt)
            self._service.record(attempt)

    def _finish(self, attempt: Attempt, source: CostSource | None, completion: Completion | None = None) -> None:
        self._done = True
        self._settle(attempt.cost_usd if attempt.status in (Status.OK, Status.CANCELLED) else 0.0)
        self._made.append(attempt)
        self._service.record(attempt)
        usage = None if completion is None else completion.usage
        self._service.record(
            Outcome(
                decision_id=self.decision.id,
                status=attempt.status,
                at=self._service.now,
                model=None if attempt.model == self.decision.model else attempt.model,
                latency_s=attempt.latency_s,
                ttft_s=attempt.ttft_s,
                input_tokens=attempt.input_tokens,
                output_tokens=attempt.output_tokens,
                cost_usd=attempt.cost_usd,
                cost_source=source,
                cached_input_tokens=attempt.cached_input_tokens,
                cache_write_tokens=None if usage is None else usage.cache_write_tokens,
                reasoning_tokens=attempt.reasoning_tokens,
                images=self._images or None,
                hardware_s=None if completion is None else completion.compute_s,
            )
        )

    def _refusal(self, exc: AdapterError) -> RouterError:
        if not exc.elsewhere:
            return RequestRefused(exc.message, remedy="change the request; what it asks for is not taken by this model")
        attempts = tuple((a.model, a.error or "") for a in self._made)
        told = ", ".join(f"{model}: {error}" for model, error in attempts)
        waits = [refused.retry_after_s for refused in self._refused]
        known = [wait for wait in waits if wait is not None]
        if len(known) == len(waits):
            return AllModelsBusy(
                f"every model that was tried asks to wait ({told})", attempts=attempts, retry_after_s=min(known), remedy="retry then"
            )
        return AllModelsFailed(f"every model that was tried failed ({told})", attempts=attempts, remedy="retry, or allow more models")


def _status(exc: AdapterError) -> Status:
    if isinstance(exc, RequestRejected) and not isinstance(exc, AccessDenied | ModelNotServed):
        return Status.REJECTED
    return Status.TIMEOUT if isinstance(exc, ProviderTimeout) else Status.ERROR


def _recorded(done: asyncio.Future[Committed]) -> None:
    if not done.cancelled() and (fault := done.exception()) is not None:
        log.warning("execution.not_recorded", reason=type(fault).__name__)
