"""How long a call may take: as a whole, to its first token, and between two tokens."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable
from time import perf_counter
from typing import TypeVar

from adapters.errors import ProviderTimeout
from adapters.types import Completion, CompletionRequest, StreamEvent, Timeouts

T = TypeVar("T")


async def answered(call: Awaitable[T], request: CompletionRequest, timeouts: Timeouts) -> T:
    """Await a call within the deadline of the whole.

    Raises ``ProviderTimeout``.
    """
    limit = _total(request, timeouts)
    try:
        async with asyncio.timeout(limit):
            return await call
    except TimeoutError:
        raise ProviderTimeout(f"no answer within {limit:g} s", model=request.model) from None


async def paced(
    events: AsyncGenerator[StreamEvent, None], request: CompletionRequest, timeouts: Timeouts
) -> AsyncGenerator[StreamEvent, None]:
    """Pass a stream on within its deadlines, and close it however it ends.

    Raises ``ProviderTimeout``.
    """
    total = _total(request, timeouts)
    first = timeouts.first_token_s if request.first_token_timeout_s is None else request.first_token_timeout_s
    end = perf_counter() + total
    wait, fault = first, f"no first token within {first:g} s" if first is not None else ""
    try:
        while True:
            left = end - perf_counter()
            limit = left if wait is None else min(wait, left)
            try:
                async with asyncio.timeout(max(limit, 0.0)):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ProviderTimeout(f"no whole answer within {total:g} s" if limit == left else fault, model=request.model) from None
            yield event
            wait, fault = timeouts.idle_s, f"no further token within {timeouts.idle_s:g} s" if timeouts.idle_s is not None else ""
    finally:
        await events.aclose()


class Timed(ABC):
    """An adapter whose calls keep their deadlines: it says how one is made, and how one is streamed."""

    def __init__(self, timeouts: Timeouts | None) -> None:
        self._timeouts = timeouts or Timeouts()

    async def complete(self, request: CompletionRequest) -> Completion:
        """Make one call, without retries.

        Raises ``AdapterError``; cancellation passes through and ends the call at the provider.
        """
        return await answered(self._complete(request), request, self._timeouts)

    def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer's pieces in order and then the whole ``Completion``, without retries.

        Raises ``AdapterError``.
        """
        return paced(self._stream(request), request, self._timeouts)

    @abstractmethod
    async def _complete(self, request: CompletionRequest) -> Completion: ...

    @abstractmethod
    def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]: ...


def _total(request: CompletionRequest, timeouts: Timeouts) -> float:
    return timeouts.total_s if request.timeout_s is None else request.timeout_s
