"""One request on its way through its attempts, and the rows that it leaves in the log."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from adapters.errors import AdapterError
from adapters.types import Completion, StreamEvent, ToolCallDelta, Usage
from router.domain.classify import estimate_tokens
from router.domain.decisions import Decision, Drawn, is_unlogged, unlogged
from router.domain.events import Attempt, Committed, CostSource, Status, Write
from router.domain.failures import spent_on, status_of
from router.errors import AllModelsBusy, AllModelsFailed, BudgetExhausted, RequestRefused, RouterError
from router.services.billing import Billing
from router.services.calls import Call, Made, Served, answered, outcome_of, request_id
from router.services.switching import Switching

log = structlog.get_logger("execution")


class LogWriter(Protocol):
    """The writer in front of the log."""

    def check(self) -> None: ...

    def submit(self, record: Write, *, lazy: bool = False) -> asyncio.Future[Committed]: ...


class Purse(Protocol):
    """What the caller's key may still spend."""

    def budget_usd(self, key_id: str | None) -> float | None: ...

    async def reserve(self, key_id: str | None, usd: float) -> Any: ...

    async def enlarge(self, reservation: Any, usd: float) -> Any: ...

    def settle(self, reservation: Any, usd: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all runs share."""

    writer: LogWriter
    switching: Switching
    billing: Billing
    purse: Purse
    clock: Callable[[], float]
    told: Callable[[Made], None] | None = None
    """Hears of every provider call that has ended."""

    def record(self, record: Write) -> None:
        """Log what happened; where the log does not take it, the decision stays without an outcome: unknown."""
        try:
            self.writer.submit(record, lazy=True).add_done_callback(recorded)
        except RouterError as exc:
            log.warning("execution.not_recorded", record=type(record).__name__, reason=type(exc).__name__)


class Tried:
    """One attempt under way."""

    def __init__(self, model: str, at: float) -> None:
        self.model = model
        self.at = at
        self.begun = perf_counter()
        self.first: float | None = None
        self.text: list[str] = []

    def note(self, event: StreamEvent) -> None:
        """Keep a piece of the answer; the whole of it says nothing new."""
        if isinstance(event, Completion):
            return
        if self.first is None:
            self.first = perf_counter()
        self.text.append(event.arguments if isinstance(event, ToolCallDelta) else event.text)

    @property
    def elapsed_s(self) -> float:
        """Since it began."""
        return perf_counter() - self.begun

    @property
    def ttft_s(self) -> float | None:
        """To the first piece."""
        return None if self.first is None else self.first - self.begun


class Run:
    """Made when a model is decided on and the money is set aside; ends once, in ``served``, ``left`` or a refusal.

    A ``with`` block around its calls ends it where something fails that nobody foresaw. The decision goes into the log once the first
    call is under way. ``at_most``: what a call of a model may cost, None where nobody knows.
    """

    def __init__(
        self,
        means: Means,
        call: Call,
        drawn: Drawn,
        reserved: Any,
        at_most: Callable[[str], float | None],
    ) -> None:
        self.request = replace(call.request, model=drawn.model)
        self._described: Callable[[], Decision] | None = drawn.described
        """Until it has been: it holds on to the state that was decided by, and a stream may last."""
        self._decision: Decision | None = None
        self._means = means
        self._call = call
        self._reserved = reserved
        self._at_most = at_most
        self._done = False
        self._tried: Tried | None = None
        """The attempt under way."""
        self._images = sum(len(message.images) for message in call.request.messages)
        self._made: list[Attempt] = []
        self._names: set[str] = set()
        self._refused: list[AdapterError] = []
        means.switching.admit(drawn.model)
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._log)

    @property
    def decision(self) -> Decision:
        """What was decided; on its way into the log before anything else is said of it."""
        return self._decision or self._log()

    async def logged(self) -> None:
        """Return when the decision is durable, or known not to be."""
        decision = self.decision
        if not (await self._committed).logged and not is_unlogged(decision.id):
            self._decision = unlogged(decision)

    def _log(self) -> Decision:
        if self._described is not None:
            self._decision, self._described = self._described(), None
            try:
                self._committed = self._means.writer.submit(self._decision)
            except RouterError as exc:
                self._committed = self._loop.create_future()
                self._committed.set_exception(exc)
            self._committed.add_done_callback(recorded)
        assert self._decision is not None  # noqa: S101 - for the type checker: one of the two is there
        return self._decision

    def start(self) -> Tried:
        """Begin the next attempt."""
        self._names.add(self.request.model)
        self._tried = Tried(self.request.model, self._means.clock())
        return self._tried

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and not self._done:
            self._fell(error)

    def _fell(self, error: BaseException) -> None:
        """Note a failure that is none of a provider's that we know: counted by our own count of what was sent and received."""
        tried = self._tried
        if tried is None:
            self._done = True
            self._means.purse.settle(self._reserved, 0.0)
            return
        try:
            attempt = self._cut(tried, Status.ERROR, type(error).__name__)
        except BaseException:
            self._done = True
            self._means.purse.settle(self._reserved, None)
            raise
        self._finish(attempt)

    async def after(self, tried: Tried, exc: AdapterError) -> None:
        """Note a failure, and turn to the next attempt.

        Raises ``RequestRefused`` or ``AllModelsFailed`` where there is none.
        """
        switching = self._means.switching
        switching.failed(tried.model, exc)
        self._refused.append(exc)
        following = None
        if exc.elsewhere:
            try:
                following = await switching.onward(self._call, self._names, tried.model, exc, len(self._made) + 1, self._affordable)
            except asyncio.CancelledError:
                self._failed(tried, exc, last=True)
                raise
        if following is None or not switching.admit(following):
            self._failed(tried, exc, last=True)
            await self.logged()
            raise self._refusal(exc)
        self._failed(tried, exc, last=False)
        self.request = replace(self.request, model=following)

    def broken(self, tried: Tried, exc: AdapterError) -> AllModelsFailed:
        """Note a failure after the first piece: nothing can take over, for the caller has the beginning of an answer."""
        self._means.switching.failed(tried.model, exc)
        self._means.switching.broke(tried.model)
        self._failed(tried, exc, last=True)
        return AllModelsFailed(
            "the answer broke off", remedy="send the request again", attempts=tuple((a.model, a.error or "") for a in self._made)
        )

    def left(self, tried: Tried) -> None:
        """Note that the caller is gone, with the usage so far by our own count."""
        if self._done:
            return  # the whole answer was there
        self._finish(self._cut(tried, Status.CANCELLED))

    def served(self, tried: Tried, completion: Completion) -> Served:
        """Note an answer."""
        self._means.switching.succeeded(tried.model)
        cost, source = self._means.billing.cost(completion, self._images)
        self._finish(answered(self._attempt(tried, Status.OK), completion, cost), completion, source)
        return Served(self.decision, completion, cost, tuple(self._made))

    async def _affordable(self, model: str) -> bool:
        """Set aside what a fallback may cost beyond what is set aside already; what nobody knows, no budget covers."""
        if self._means.purse.budget_usd(self._call.key_id) is None:
            return True
        if (cost := self._at_most(model)) is None:
            return False
        try:
            self._reserved = await self._means.purse.enlarge(self._reserved, cost)
        except BudgetExhausted:
            return False
        return True

    def _part(self, tried: Tried, told: Usage | None = None) -> dict[str, Any]:
        """What a call without a whole answer took and cost: as the provider says, else by our own count of what was sent and received."""
        usage = told or Usage(self._call.task.context_tokens, estimate_tokens("".join(tried.text)))
        return {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_input_tokens": usage.cached_input_tokens if told else None,
            "reasoning_tokens": usage.reasoning_tokens if told else None,
            "cost_usd": self._means.billing.cost_of_part(tried.model, usage, self._images),
        }

    def _cut(self, tried: Tried, status: Status, error: str | None = None) -> Attempt:
        """An attempt that ended on our side, with the usage so far by our own count; no fault of the model's."""
        self._means.switching.left(tried.model)
        return self._attempt(
            tried, status, latency_s=tried.elapsed_s, error=error, ttft_s=tried.ttft_s, estimated=True, **self._part(tried)
        )

    def _attempt(self, tried: Tried, status: Status, **more: Any) -> Attempt:
        number, forced = len(self._made) + 1, bool(self._made) or self.decision.forced
        return Attempt(self.decision.id, number, tried.model, status, tried.at, forced=forced, **more)

    def _failed(self, tried: Tried, exc: AdapterError, *, last: bool) -> None:
        begun = exc.usage is not None or tried.first is not None
        attempt = self._attempt(
            tried,
            status_of(exc),
            latency_s=tried.elapsed_s,
            last=last,
            error=type(exc).__name__,
            http_status=exc.status,
            ttft_s=tried.ttft_s,
            request_id=request_id(exc.request_id),
            estimated=begun and exc.usage is None,
            **(self._part(tried, exc.usage) if begun else {}),
        )
        if last:
            self._finish(attempt)
        else:
            self._ended(attempt, None)

    def _finish(self, attempt: Attempt, completion: Completion | None = None, source: CostSource | None = CostSource.COMPUTED) -> None:
        self._done = True
        costs = [spent_on(made) for made in (*self._made, attempt)]
        self._means.purse.settle(self._reserved, None if None in costs else sum(usd for usd in costs if usd is not None))
        self._ended(attempt, completion)
        at, decided = self._means.clock(), self.decision.model
        self._means.record(outcome_of(attempt, at, decided=decided, source=source, images=self._images, completion=completion))

    def _ended(self, attempt: Attempt, completion: Completion | None) -> None:
        self._made.append(attempt)
        self._means.record(attempt)
        if self._means.told is not None:
            self._means.told(Made(self.decision, self.request, attempt, completion, self._call.trace))

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


def recorded(done: asyncio.Future[Committed]) -> None:
    """Tell where a record did not get into the log."""
    if not done.cancelled() and (fault := done.exception()) is not None:
        log.warning("execution.not_recorded", reason=type(fault).__name__)
