"""The stub: one loopback address that answers as OpenAI, Anthropic, Gemini and Replicate do."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from adapters.types import Message
from router.testing import anthropic_format, gemini_format, openai_format, replicate_format
from router.testing.replicate_format import Prediction
from router.testing.scenarios import Answer, Asked, Fault, Frame, Scenario, answer
from router.testing.server import Call, Connection, Reply

Json = dict[str, Any]
SCENARIO_HEADER = "x-stub-scenario"
"""Names the script of a call, instead of its model."""

_GEMINI = re.compile(r"/v1(?:beta|alpha)?/models/(?P<model>[^/:]+):(?P<verb>generateContent|streamGenerateContent)")
_REPLICATE = re.compile(r"/v1/models/(?P<model>[^/]+/[^/]+)/predictions")
_PREDICTION = re.compile(r"/v1/(?P<kind>predictions|streams)/(?P<id>[\w-]+)(?P<cancel>/cancel)?")
_PATHS = {"openai": "/v1", "cerebras": "/v1", "deepinfra": "/v1/openai"}
_KEPT = 10_000
_PAGE = b"<!doctype html><html><body><h1>Welcome to the proxy</h1></body></html>"
_FORMATS = {
    "openai": openai_format,
    "anthropic": anthropic_format,
    "gemini": gemini_format,
    "gemini-array": gemini_format,
    "replicate": replicate_format,
}
_WHOLE = {"openai": openai_format.whole, "anthropic": anthropic_format.whole, "gemini": gemini_format.whole}
_FRAMES = {"openai": openai_format.frames, "anthropic": anthropic_format.frames, "gemini": gemini_format.frames}
_FRAMES["gemini-array"] = gemini_format.array_frames


@dataclass(slots=True)
class Received:
    """A call that came in."""

    provider: str
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: Any = field(repr=False)
    model: str = ""
    messages: tuple[Message, ...] = ()
    """The conversation as the provider understands it."""
    stream: bool = False
    at: float = 0.0
    """On the monotonic clock, as the next two."""
    answered_at: float | None = None
    """When the last byte was written."""
    left_at: float | None = None
    """When the client hung up before that."""
    chunks_sent: int = 0
    client_port: int = 0
    """Calls that share it came over one connection."""


class Stub:
    """A context manager; the server runs in a thread of its own, so any client can call it."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        """The calls, in order; under load only the latest."""
        self.default = Scenario()
        """For models without a script."""
        self.player: Callable[[Asked], Scenario | None] | None = None
        """Answers for models without a script, where it knows the request."""
        self._scripts: dict[str, list[Scenario]] = {}
        self._predictions: dict[str, Prediction] = {}
        self._answers = 0
        self._opened: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stub", daemon=True)
        self._listening = threading.Event()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def base_url(self, provider: str) -> str:
        """What to give a provider's client as its base URL."""
        return self.url + _PATHS.get(provider, "")

    def script(self, model: str, *scenarios: Scenario) -> None:
        """What the next calls of a model (or with that name in the header ``x-stub-scenario``) get; the last one stays."""
        if not scenarios:
            raise ValueError("a script needs a scenario; Scenario() is an ordinary answer")
        self._scripts[model] = list(scenarios)

    def refuse(self) -> None:
        """Break every connection and take no new ones, until ``listen``."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result()

    def listen(self) -> None:
        """Take connections again, at the same address."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def forget(self) -> None:
        """Drop the scripts and what was received."""
        self._scripts.clear()
        self.player = None
        self.requests.clear()

    def cancelled(self) -> list[str]:
        """Ids of the predictions that were cancelled."""
        return [prediction.id for prediction in self._predictions.values() if prediction.cancelled]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self.url = f"http://127.0.0.1:{self._port}"
        self._listening.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._refuse())
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(
                lambda: Connection(self._respond, self._opened), "127.0.0.1", self._port, backlog=2048
            )
            self._port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self._opened):
            transport.abort()

    async def _respond(self, call: Call, reply: Reply) -> None:
        received = Received("", call.method, call.path, dict(call.headers), _json(call.body), client_port=call.client_port)
        received.at = time.monotonic()
        self.requests.append(received)
        if len(self.requests) > _KEPT:
            del self.requests[: _KEPT // 2]
        try:
            await self._dispatch(call, received, reply)
            received.answered_at = time.monotonic()
        except asyncio.CancelledError:
            received.left_at = time.monotonic()
            raise

    async def _dispatch(self, call: Call, received: Received, reply: Reply) -> None:
        body = received.body if isinstance(received.body, dict) else {}
        if call.path.endswith("/chat/completions"):
            await self._chat("openai", openai_format.read(body), received, reply)
        elif call.path.endswith("/v1/messages"):
            await self._chat("anthropic", anthropic_format.read(body), received, reply)
        elif found := _GEMINI.fullmatch(call.path):
            asked = gemini_format.read(body, found["model"], stream=found["verb"] == "streamGenerateContent")
            await self._chat("gemini" if not asked.stream or "alt=sse" in call.query else "gemini-array", asked, received, reply)
        elif call.method == "POST" and (found := _REPLICATE.fullmatch(call.path)):
            await self._create(replicate_format.read(body, found["model"]), received, reply)
        elif call.method == "POST" and call.path == "/v1/predictions":
            await self._create(replicate_format.read(body, ""), received, reply)
        elif found := _PREDICTION.fullmatch(call.path):
            await self._follow(found, received, reply)
        else:
            reply.json({"error": {"message": "no such path", "type": "invalid_request_error", "code": "not_found"}}, 404)

    async def _chat(self, provider: str, asked: Asked, received: Received, reply: Reply) -> None:
        scenario = self._scenario(asked, received, provider)
        speaks = _FORMATS[provider]
        await asyncio.sleep(scenario.latency_s)
        if await self._fails(scenario, provider, received, reply):
            return
        said = self._answer(scenario, asked)
        if not asked.stream:
            body = json.dumps(_WHOLE[provider](said), ensure_ascii=False).encode()
            if scenario.fault is Fault.CUT:
                _cut(reply, body)
            else:
                reply.whole(body, headers=_ids(provider, said))
            return
        reply.start(_ids(provider, said), "application/json; charset=UTF-8" if provider == "gemini-array" else "text/event-stream")
        await self._stream(_FRAMES[provider](said), speaks.error_frame, scenario, received, reply)

    async def _create(self, asked: Asked, received: Received, reply: Reply) -> None:
        scenario = self._scenario(asked, received, "replicate")
        if await self._fails(scenario, "replicate", received, reply):
            return
        said = self._answer(scenario, asked)
        given = received.body.get("input", {})
        prediction = Prediction(said.id, self.url, said, scenario, asked, given, time.monotonic())
        self._predictions[said.id] = prediction
        patience = re.fullmatch(r"wait(?:=(\d+))?", received.headers.get("prefer", ""))
        if patience is not None:
            await asyncio.sleep(min(prediction.ends_in(time.monotonic()), float(patience[1] or 60)))
        shown = prediction.shown(time.monotonic())
        if scenario.fault is Fault.CUT and not asked.stream:
            _cut(reply, json.dumps(shown).encode())
        else:
            reply.json(shown, 201)

    async def _follow(self, found: re.Match[str], received: Received, reply: Reply) -> None:
        received.provider = "replicate"
        prediction = self._predictions.get(found["id"])
        if prediction is None:
            reply.json(replicate_format.error(404, None, "no such prediction"), 404)
            return
        received.model = prediction.asked.model
        if found["kind"] == "streams":
            received.stream = True
            await asyncio.sleep(prediction.ends_in(time.monotonic()))
            reply.start()
            frames = replicate_format.frames(prediction.answer)
            await self._stream(frames, replicate_format.error_frame, prediction.scenario, received, reply)
            return
        if found["cancel"] and prediction.ends_in(time.monotonic()) > 0:
            prediction.cancelled = True
        reply.json(prediction.shown(time.monotonic()))

    def _scenario(self, asked: Asked, received: Received, provider: str) -> Scenario:
        received.provider, received.model = provider.removesuffix("-array"), asked.model
        received.messages, received.stream = asked.messages, asked.stream
        script = self._scripts.get(received.headers.get(SCENARIO_HEADER, asked.model))
        if script is None:
            return (self.player(asked) if self.player is not None else None) or self.default
        return script.pop(0) if len(script) > 1 else script[0]

    def _answer(self, scenario: Scenario, asked: Asked) -> Answer:
        self._answers += 1
        return answer(scenario, asked, self._answers)

    async def _fails(self, scenario: Scenario, provider: str, received: Received, reply: Reply) -> bool:
        """Answer wrongly, where the scenario says so."""
        if scenario.fault is Fault.HANG:
            await asyncio.Event().wait()
        if scenario.fault is Fault.DROP:
            reply.hang_up()
        elif scenario.fault is Fault.GARBAGE:
            reply.whole(b'{"id": "x", "choices": [{"mess\xff')
        elif scenario.fault is Fault.HTML:
            reply.whole(_PAGE, kind="text/html")
        elif scenario.fault is Fault.EMPTY_OBJECT:
            reply.json({})
        elif scenario.status >= 300:
            message = scenario.error_message or _quoting(received)
            headers = {"x-request-id": "req_stub"} | ({} if scenario.retry_after is None else {"retry-after": scenario.retry_after})
            reply.json(_FORMATS[provider].error(scenario.status, scenario.error_code, message), scenario.status, headers)
        else:
            return False
        return True

    async def _stream(
        self, frames: list[Frame], error_frame: Callable[[str], Frame], scenario: Scenario, received: Received, reply: Reply
    ) -> None:
        for frame in frames:
            if frame.content and received.chunks_sent == scenario.fault_after_chunks and scenario.fault is not Fault.NONE:
                if scenario.fault is Fault.STALL:
                    await asyncio.Event().wait()
                elif scenario.fault is Fault.STREAM_ERROR:
                    reply.chunk(error_frame(scenario.error_message or _quoting(received)).data)
                if scenario.fault is Fault.CUT:
                    reply.hang_up()
                else:
                    reply.end()
                return
            if frame.content and received.chunks_sent and scenario.chunk_delay_s:
                await asyncio.sleep(scenario.chunk_delay_s)
            reply.chunk(frame.data)
            received.chunks_sent += frame.content
        reply.end()


def _cut(reply: Reply, body: bytes) -> None:
    reply.promise(len(body), body[: len(body) // 2])
    reply.hang_up()


def _ids(provider: str, said: Answer) -> dict[str, str]:
    """How the provider names the request in its headers."""
    name = {"openai": "x-request-id", "anthropic": "request-id"}.get(provider)
    return {} if name is None else {name: f"req_{said.id}"}


def _quoting(received: Received) -> str:
    """A message that repeats what must not be repeated, as real ones do."""
    key = received.headers.get("authorization") or received.headers.get("x-goog-api-key", "")
    prompt = received.messages[-1].text if received.messages else ""
    return f"request with key {key} and text {prompt!r} failed"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
