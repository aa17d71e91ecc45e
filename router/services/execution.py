"""Executes what routing decides: one decision, the provider calls it takes, and rows for what they did.

The decision is described and committed beside the provider's call, which nothing of leaves before that. Retries and fallbacks happen
here and nowhere else (``switching``, ``runs``), and never once a piece of the answer has left.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from adapters.errors import AdapterError, MalformedResponse
from adapters.types import Completion, Delta, StreamEvent
from router.domain.calling import Calling
from router.domain.decisions import Drawn, is_unlogged
from router.domain.episodes import Last
from router.domain.events import Status
from router.domain.models import Price
from router.domain.tasks import Task
from router.errors import CostUnknown, StorageUnavailable
from router.ports import Store
from router.services.billing import Billing
from router.services.calls import Call, ExecutionRules, Made, Opened, Served
from router.services.providers import Providers
from router.services.runs import LogWriter, Means, Purse, Run, Tried
from router.services.switching import NextBest, Switching

EPISODES_REMEMBERED = 10_000


class Routing(NextBest, Protocol):
    """Decides."""

    def draw(self, task: Task, calling: Calling | None = None, *, explained: bool = True) -> Drawn: ...

    def cost_at_most(self, task: Task, model_id: str) -> float | None: ...


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
        observe: Callable[[Call, Served], None] | None = None,
        told: Callable[[Made], None] | None = None,
    ) -> None:
        self.providers = providers
        self._routing = routing
        self._store = store
        self._clock = clock
        self._switching = Switching(routing, rules, rng)
        self._means = Means(writer, self._switching, Billing(price), purse, clock, told)
        self._observe = observe
        """Told of every whole answer before it leaves; must be quick and raise nothing."""
        self._episodes: OrderedDict[str, Last] = OrderedDict()

    async def complete(self, call: Call) -> Served:
        """Answer a request whole.

        Raises what deciding raises, ``BudgetExhausted``, ``CostUnknown``, ``RequestRefused``, ``AllModelsFailed``. Cancellation passes
        through and is logged.
        """
        with await self._begin(call) as run:
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
                await run.logged()
                if served.decision is not run.decision:  # the log did not take it
                    served = replace(served, decision=run.decision)
                self._note(call, served)
                return served

    async def stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Served, None]:
        """Answer a request piece by piece: ``Opened``, the pieces, ``Served``. Close it to leave early.

        Where a model's stream may well break, it is handed over once it is whole, so that another model can still take over.

        Raises as ``complete`` does, and ``AllModelsFailed`` where the stream breaks after its first piece.
        """
        with await self._begin(call) as run:
            while True:
                tried = run.start()
                opened = False
                try:
                    stream, doubtful = self.providers.stream(run.request), self._switching.doubtful(tried.model)
                    async with aclosing(_whole_first(stream, tried) if doubtful else stream) as events:
                        async for event in events:
                            if not doubtful:
                                tried.note(event)
                            if not opened:
                                await run.logged()
                                opened = True
                                yield Opened(run.decision, tried.model)
                            if isinstance(event, Completion):
                                self._switching.streamed(tried.model)
                                served = run.served(tried, event)
                                self._note(call, served)
                                yield served
                                return
                            yield event
                    raise MalformedResponse("the stream ended without an answer", model=tried.model)
                except AdapterError as exc:
                    if opened:
                        raise run.broken(tried, exc) from None
                    await run.after(tried, exc)
                except (asyncio.CancelledError, GeneratorExit):
                    run.left(tried)
                    raise

    def resting(self) -> dict[str, float]:
        """Models that take no call now, with the seconds until they may."""
        return self._switching.resting()

    async def close(self) -> None:
        """Give back connections."""
        await self.providers.close()

    async def _begin(self, call: Call) -> Run:
        last = await self._last(call.task.episode_id)
        purse = self._means.purse
        budget = purse.budget_usd(call.key_id)
        if budget is not None:
            call = replace(call, task=call.task.costing_at_most(budget))
        drawn = self._routing.draw(call.task, Calling(self._switching.resting(), call.model, last), explained=False)

        def at_most(model: str) -> float | None:
            return self._routing.cost_at_most(call.task, model)

        reserved = await purse.reserve(call.key_id, 0.0 if budget is None else _known(at_most(drawn.model)))
        try:
            self._means.writer.check()
            self._switching.request()
            return Run(self._means, call, drawn, reserved, at_most)
        except BaseException:  # whatever it is, nothing was called
            purse.settle(reserved, 0.0)
            raise

    async def _last(self, episode_id: str | None) -> Last | None:
        if episode_id is None:
            return None
        if episode_id in self._episodes:
            self._episodes.move_to_end(episode_id)
            return self._episodes[episode_id]
        try:
            found = await asyncio.to_thread(self._store.decisions, limit=1, episode_id=episode_id)
        except StorageUnavailable:
            return None  # the cache of a prompt is no reason to refuse it
        for record in found:
            if record.outcome is not None and record.outcome.status is Status.OK:
                tokens = int(record.decision.request.get("context_tokens", 0))
                return Last(record.outcome.model or record.decision.model, record.outcome.at, tokens)
        return None

    def _note(self, call: Call, served: Served) -> None:
        self._remember(call.task, served.completion.model)
        if self._observe is not None and not is_unlogged(served.decision.id):
            self._observe(call, served)

    def _remember(self, task: Task, model: str) -> None:
        """Keep what an episode's prompt may be cached by."""
        if task.episode_id is None:
            return
        self._episodes[task.episode_id] = Last(model, self._clock(), task.context_tokens)
        self._episodes.move_to_end(task.episode_id)
        if len(self._episodes) > EPISODES_REMEMBERED:
            self._episodes.popitem(last=False)


def _known(cost_usd: float | None) -> float:
    """A cost that a budget can be held by.

    Raises ``CostUnknown``.
    """
    if cost_usd is None:
        raise CostUnknown(
            "nobody knows what a call of this model costs, and the API key has a budget",
            field="model",
            remedy="name a model that has a price, give this one a price with PATCH /v1/models/ID, or use a key without a budget",
        )
    return cost_usd


async def _whole_first(stream: AsyncGenerator[StreamEvent, None], tried: Tried) -> AsyncGenerator[StreamEvent, None]:
    """The pieces of a stream once all of them are there, noted as they come."""
    kept: list[StreamEvent] = []
    async with aclosing(stream) as events:
        async for event in events:
            tried.note(event)
            kept.append(event)
    for event in kept:
        yield event
