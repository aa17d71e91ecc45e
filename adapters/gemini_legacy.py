"""Google's Gemini, through the ``google-generativeai`` SDK, which is at its end of life upstream: prefer ``gemini``.

Used below its ``GenerativeModel``, which keeps one client for the whole process and rewrites failures, over its REST transport: its
asynchronous one speaks only gRPC. So each call has a thread, and leaving early shuts the call's socket, on which the thread waits.
"""

import asyncio
import socket
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # it announces its end; the listing says so, where operators look
    from google.generativeai import protos

import requests
import urllib3
from google.ai.generativelanguage import GenerativeServiceClient
from google.api_core.exceptions import GoogleAPIError
from google.protobuf.json_format import ParseError
from requests.adapters import HTTPAdapter

from adapters import gemini_wire as wire
from adapters.deadlines import Timed
from adapters.errors import AdapterError
from adapters.refusals import broken, cut_off, refused, unreadable
from adapters.types import Completion, CompletionRequest, StreamEvent, Timeouts

BASE_URL = "https://generativelanguage.googleapis.com"
TAKEN = ("top_k", "presence_penalty", "frequency_penalty")
"""Further fields that Gemini takes by the same name."""
_THREADS = 64
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ParseError)
"""What the SDK raises, unwrapped, where an answer is not what it expects."""
_SCHEMA_FIELDS = {"type": "type_", "format": "format_"} | {
    name: name for name in ("description", "nullable", "enum", "items", "properties", "required")
}
T = TypeVar("T")


class GeminiLegacyAdapter(Timed):
    """The Gemini developer API by the old SDK."""

    def __init__(self, api_key: str, *, base_url: str | None = None, timeouts: Timeouts | None = None) -> None:
        super().__init__(timeouts)
        self._threads = ThreadPoolExecutor(_THREADS, "gemini-legacy")
        options = {"api_key": api_key, "api_endpoint": base_url or BASE_URL}
        self._client = GenerativeServiceClient(transport="rest", client_options=options)
        session = self._client.transport._session
        session._refresh_status_codes = ()  # else it repeats what the key was refused for
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Transport(self._timeouts.connect_s))

    async def close(self) -> None:
        """Give back connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.transport.close()

    async def _complete(self, request: CompletionRequest) -> Completion:
        reading, body, call = wire.Reading(request), encode(request), _Call()
        try:
            answer = await self._in_thread(call, lambda: self._client.generate_content(body, retry=None))
            for _ in reading.read(answer):
                pass
        except (GoogleAPIError, requests.RequestException, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None  # the SDK's words may quote the prompt
        return replace(reading.whole(), ttft_s=None)

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        reading, body, call = wire.Reading(request), encode(request), _Call()
        chunks: Any = None
        try:
            chunks = await self._in_thread(call, lambda: self._client.stream_generate_content(body, retry=None))
            while (chunk := await self._in_thread(call, lambda: next(chunks, None))) is not None:
                for delta in reading.read(chunk):
                    yield delta
        except ValueError as exc:  # how the SDK says that the array was not closed
            raise cut_off(request.model) if reading.begun else translate(exc, request.model) from None
        except (GoogleAPIError, requests.RequestException, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None
        finally:
            if chunks is not None:
                self._threads.submit(chunks.cancel)
        yield reading.whole()

    async def _in_thread(self, call: "_Call", work: Callable[[], T]) -> T:
        def marked() -> T:
            _current.call, call.working = call, True
            try:
                return work()
            finally:
                call.working = False

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, marked)
        except asyncio.CancelledError:
            call.leave()
            raise


def encode(request: CompletionRequest) -> Any:
    """The message of a call.

    Raises ``RequestRejected`` for what Gemini cannot be told.
    """
    turns = wire.contents(request)
    for turn in turns:
        for part in turn["parts"]:
            part.pop("thought_signature", None)  # the old SDK has no place for it, and the models that insist on it are newer
    options = {name: request.extra[name] for name in TAKEN if name in request.extra}
    options |= {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_output_tokens,
        "stop_sequences": list(request.stop) or None,
    }
    if request.json_output is not None:
        options["response_mime_type"] = "application/json"
        options["response_schema"] = _schema(request.json_output.schema) if request.json_output.schema is not None else None
    body: wire.Json = {
        "model": f"models/{request.name.removeprefix('models/')}",
        "contents": turns,
        "generation_config": {key: value for key, value in options.items() if value is not None},
    }
    if (said := wire.system(request)) is not None:
        body["system_instruction"] = {"parts": [{"text": said}]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description} | ({"parameters": _schema(tool.parameters)} if tool.parameters else {})
            for tool in request.tools
        ]
        body["tools"] = [{"function_declarations": declared}]
        if request.tool_choice is not None:
            body["tool_config"] = {"function_calling_config": wire.tool_mode(request.tool_choice)}
    return protos.GenerateContentRequest(body)


def translate(exc: Exception, model: str) -> AdapterError:
    """Our error for the SDK's."""
    answer = getattr(exc, "response", None)
    if isinstance(answer, requests.Response):
        return refused(answer.status_code, _body(answer), answer.headers, model)
    if isinstance(exc, GoogleAPIError | requests.RequestException) and not isinstance(exc, requests.JSONDecodeError):
        return broken(exc, model)
    return unreadable(model, type(exc).__name__)


def _schema(schema: Mapping[str, Any]) -> wire.Json:
    """A JSON schema as far as the old API knows them."""
    made: wire.Json = {_SCHEMA_FIELDS[name]: value for name, value in schema.items() if name in _SCHEMA_FIELDS}
    if isinstance(kind := made.get("type_"), str):
        made["type_"] = kind.upper()
    if "items" in made:
        made["items"] = _schema(made["items"])
    if "properties" in made:
        made["properties"] = {name: _schema(inner) for name, inner in made["properties"].items()}
    return made


def _body(answer: requests.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


class _Call:
    """One call's socket, to be shut when the call is left."""

    def __init__(self) -> None:
        self.left = False
        self.working = False
        self.socket: socket.socket | None = None

    def leave(self) -> None:
        """Wake the thread that waits on the socket; one that nobody waits on may serve another call already."""
        self.left = True
        if self.working and self.socket is not None:
            try:
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
            except OSError:
                return  # already closed


class _Current(threading.local):
    call: _Call | None = None


_current = _Current()


class _Noting:
    """Tells the call of this thread which socket it uses."""

    sock: socket.socket | None
    connect: Callable[[], None]

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is None:
            self.connect()
        if (call := _current.call) is not None:
            call.socket = self.sock
            if call.left:
                raise ConnectionAbortedError("the call was left")
        return super().request(*args, **kwargs)  # type: ignore[misc]


class _Plain(_Noting, urllib3.connection.HTTPConnection):
    pass


class _Secure(_Noting, urllib3.connection.HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Transport(HTTPAdapter):
    """Limits the time to connect, and no other: the asynchronous side keeps the deadlines. Follows no redirect."""

    def __init__(self, connect_s: float) -> None:
        super().__init__(pool_maxsize=_THREADS)
        self._connect_s = connect_s
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = (self._connect_s, None)
        answer = super().send(*args, **kwargs)
        if 300 <= answer.status_code < 400:
            raise requests.TooManyRedirects("a redirect", response=answer)
        return answer
