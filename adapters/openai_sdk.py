"""Carries calls to an OpenAI-compatible endpoint with the ``openai`` SDK.

The SDK keeps the key, the connections and the mapping of failures; bodies go past its request and response models (``client.post``),
which would take two thirds of a call's CPU.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import openai

from adapters.endpoints import OPENAI, Endpoint
from adapters.openai_calls import HEADERS, PATH, Reply
from adapters.types import Timeouts


class SdkCaller:
    """One endpoint."""

    faults = (openai.OpenAIError, httpx2.HTTPError)
    """What stands for a connection that failed."""

    def __init__(self, api_key: str, base_url: str, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url,
            max_retries=0,  # the service owns retries, so that it can count and pay for each
            timeout=httpx2.Timeout(None, connect=timeouts.connect_s),
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),
        )
        if endpoint.name != OPENAI.name:
            self._client.organization = self._client.project = None  # the SDK reads OpenAI's from the environment

    @asynccontextmanager
    async def send(self, body: bytes, *, stream: bool) -> AsyncIterator[Reply]:
        """Post a body; leaving early closes the connection. Raises ``faults``."""
        reply, answer = await self._post(body, stream=stream)
        if answer is None:
            yield reply
            return
        async with aclosing(answer):
            yield reply

    async def _post(self, body: bytes, *, stream: bool) -> tuple[Reply, Any]:
        """The reply, and what is to be closed after a stream."""
        options: Any = {"cast_to": httpx2.Response, "content": body, "options": {"headers": HEADERS}}
        try:
            if not stream:
                whole = await self._client.post(PATH, **options)
                return Reply(whole.status_code, whole.headers, whole.content), None
            answer: Any = await self._client.post(PATH, **options, stream=True, stream_cls=openai.AsyncStream[object])
        except openai.APIStatusError as exc:
            return Reply(exc.status_code, exc.response.headers, exc.response.content), None
        return Reply(answer.status_code, answer.headers, chunks=answer.aiter_bytes()), answer

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()
