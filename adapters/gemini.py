"""Google's Gemini, through the ``google-genai`` SDK."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from adapters import gemini_wire as wire
from adapters.deadlines import Timed
from adapters.errors import AdapterError
from adapters.refusals import broken, refused, unreadable
from adapters.types import Completion, CompletionRequest, StreamEvent, Timeouts

BASE_URL = "https://generativelanguage.googleapis.com"
TAKEN = ("top_k", "presence_penalty", "frequency_penalty", "thinking_config", "safety_settings")
"""Further fields that Gemini takes by the same name."""
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What the SDK raises, unwrapped, where an answer is not what it expects."""
_opened: ContextVar[list[httpx2.Response] | None] = ContextVar("opened", default=None)


class GeminiAdapter(Timed):
    """The Gemini developer API."""

    def __init__(self, api_key: str, *, base_url: str | None = None, timeouts: Timeouts | None = None) -> None:
        super().__init__(timeouts)
        self._http = httpx2.AsyncClient(transport=_Transport(self._timeouts.connect_s), event_hooks={"response": [_note]})
        self._client = genai.Client(
            api_key=api_key,
            vertexai=False,  # else the environment decides
            # a client of ours: over aiohttp, which it takes where it finds it, the SDK repeats failed calls after a nap of its own
            http_options=types.HttpOptions(base_url=base_url or BASE_URL, httpx_async_client=self._http),
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._http.aclose()
        await self._client.aio.aclose()
        self._client.close()

    async def _complete(self, request: CompletionRequest) -> Completion:
        reading, arguments = wire.Reading(request), encode(request)
        try:
            answer = await self._client.aio.models.generate_content(**arguments)
            for _ in reading.read(answer):
                pass
        except (errors.APIError, httpx2.HTTPError, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None  # the SDK's words may quote the prompt
        return replace(reading.whole(), ttft_s=None)

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        reading, arguments, opened = wire.Reading(request), encode(request), list[httpx2.Response]()
        try:
            chunks: Any = await self._client.aio.models.generate_content_stream(**arguments)
            async with aclosing(chunks):
                chunk = await _first(chunks, opened)
                while chunk is not None:
                    for delta in reading.read(chunk):
                        yield delta
                    chunk = await anext(chunks, None)
        except (errors.APIError, httpx2.HTTPError, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None
        finally:
            for response in opened:
                await response.aclose()  # the SDK's nested generators would leave it to the garbage collector
        yield reading.whole()


def encode(request: CompletionRequest) -> wire.Json:
    """The arguments of a call.

    Raises ``RequestRejected`` for what Gemini cannot be told.
    """
    options: wire.Json = {
        "system_instruction": wire.system(request),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_output_tokens,
        "stop_sequences": list(request.stop) or None,
        "seed": request.seed,
    }
    options |= {name: request.extra[name] for name in TAKEN if name in request.extra}
    if request.json_output is not None:
        options["response_mime_type"] = "application/json"
        options["response_json_schema"] = dict(request.json_output.schema) if request.json_output.schema is not None else None
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description or None, "parameters_json_schema": dict(tool.parameters) or None}
            for tool in request.tools
        ]
        options["tools"] = [{"function_declarations": declared}]
        if request.tool_choice is not None:
            options["tool_config"] = {"function_calling_config": wire.tool_mode(request.tool_choice)}
    config = {key: value for key, value in options.items() if value is not None}
    return {
        "model": request.name,
        "contents": wire.contents(request),
        "config": config | {"automatic_function_calling": {"disable": True}},
    }


def translate(exc: Exception, model: str) -> AdapterError:
    """Our error for the SDK's."""
    if isinstance(exc, errors.APIError):
        headers: Any = getattr(exc.response, "headers", None)
        status = exc.code if isinstance(exc.code, int) and not isinstance(exc.code, bool) else None
        return refused(status, exc.details, headers if hasattr(headers, "get") else {}, model)
    if isinstance(exc, httpx2.HTTPError):
        return broken(exc, model)
    return unreadable(model, type(exc).__name__)


class _Transport(httpx2.AsyncHTTPTransport):
    """Limits the time to connect, which the SDK can only limit together with the time to answer."""

    def __init__(self, connect_s: float) -> None:
        super().__init__(limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100))
        self._timeout = {"connect": connect_s, "read": None, "write": None, "pool": None}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "timeout": self._timeout}
        return await super().handle_async_request(request)


async def _first(chunks: AsyncGenerator[Any, None], opened: list[httpx2.Response]) -> Any:
    """The first chunk, for which the SDK opens the connection."""
    token = _opened.set(opened)
    try:
        return await anext(chunks, None)
    finally:
        _opened.reset(token)


async def _note(response: httpx2.Response) -> None:
    if (opened := _opened.get()) is not None:
        opened.append(response)
