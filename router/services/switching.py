"""Which model the next attempt goes to: circuits and the retry budget, shared by all requests, whole and streamed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

import structlog

from adapters.errors import AdapterError, ContextTooLong
from router.domain.breaker import Breakers, RetryBudget
from router.domain.calling import Calling
from router.domain.tasks import Task
from router.services.calls import Call, ExecutionRules

_BACKOFF_S = 0.1

log = structlog.get_logger("execution")


class NextBest(Protocol):
    """Names the next model where one fails."""

    def next_best(self, task: Task, calling: Calling, tried: set[str]) -> str | None: ...


class Switching:
    """Lives on one event loop."""

    def __init__(self, routing: NextBest, rules: ExecutionRules, rng: random.Random) -> None:
        self._routing = routing
        self._rules = rules
        self._rng = rng
        self._breakers = Breakers(rng)
        self._budget = RetryBudget(rules.retry_share)
        self._broke: set[str] = set()

    def request(self) -> None:
        """A request came in: it earns a share of a further attempt."""
        self._budget.request()

    def resting(self) -> dict[str, float]:
        """Models that take no call now, with the seconds until they may."""
        return self._breakers.resting(monotonic())

    def admit(self, model: str) -> bool:
        """Whether a call of the model may start now."""
        return self._breakers.admit(model, monotonic())

    def doubtful(self, model: str) -> bool:
        """Whether a stream of the model may well break: it is a probe, or the last one broke. Whole answers say nothing about that."""
        return model in self._broke or self._breakers.probing(model)

    def broke(self, model: str) -> None:
        """A stream broke after its first piece."""
        self._broke.add(model)

    def streamed(self, model: str) -> None:
        """A stream came to its end; tell before ``succeeded``."""
        self._broke.discard(model)

    def succeeded(self, model: str) -> None:
        """Tell the model's circuit of an answer. Where the last stream broke, whole answers do not speak for the next ones."""
        if model not in self._broke or self._breakers.probing(model):
            self._breakers.succeeded(model)

    def failed(self, model: str, exc: AdapterError) -> None:
        """Tell the model's circuit of a failure; one that is the request's own fault says nothing about the model."""
        if not exc.elsewhere:
            self._breakers.left(model)
        elif self._breakers.failed(model, monotonic(), lasting=not exc.retryable and not isinstance(exc, ContextTooLong)):
            log.warning("execution.circuit_opened", model=model, error=type(exc).__name__)

    def left(self, model: str) -> None:
        """A call was left by its caller."""
        self._breakers.left(model)

    async def onward(
        self, call: Call, tried: set[str], failed: str, exc: AdapterError, number: int, affordable: Callable[[str], Awaitable[bool]]
    ) -> str | None:
        """The model of the next attempt, after the wait that it takes; None: give up.

        ``number``: of the attempt that failed. A long request that another model can read is no outage: it spends no retry budget.
        """
        if number >= self._rules.max_attempts:
            return None
        if call.may_switch:
            other = await self._other(call.task, tried, affordable)
            if other is not None and (isinstance(exc, ContextTooLong) or self._budget.spend()):
                return other
        if not exc.retryable:
            return None
        wait = exc.retry_after_s if exc.retry_after_s is not None else _BACKOFF_S * 2 ** (number - 1)
        if wait > self._rules.longest_wait_s or failed in self._breakers.resting(monotonic() + wait) or not self._budget.spend():
            return None
        await asyncio.sleep(wait * self._rng.uniform(1.0, 1.5))
        return failed

    async def _other(self, task: Task, tried: set[str], affordable: Callable[[str], Awaitable[bool]]) -> str | None:
        passed = set(tried)
        while (model := self._routing.next_best(task, Calling(self.resting()), passed)) is not None:
            if await affordable(model):
                return model
            passed.add(model)
        return None
