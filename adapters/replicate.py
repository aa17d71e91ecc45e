"""Replicate, through the ``replicate`` SDK: a prediction is created, waited for and polled, or streamed, and cancelled when left.

Models take a prompt, not a conversation: earlier turns become a transcript. Billing is by token or by the second of hardware.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from time import perf_counter
from typing import Any

import httpx
from replicate.client import Client
from replicate.exceptions import ReplicateException
from replicate.prediction import Prediction

from adapters.assembly import Assembly
from adapters.deadlines import Timed
from adapters.errors import AdapterError, ContentRefused, ProviderDown, RequestRejected
from adapters.refusals import broken, cut_off, refused, unreadable
from adapters.sse import server_events
from adapters.types import Completion, CompletionRequest, FinishReason, StreamEvent, TextDelta, Timeouts, Usage

BASE_URL = "https://api.replicate.com"
_WAIT_S = 1
"""How long a create may hold the line: long enough for a warm model's short answer, short enough to learn the id for a cancel."""
_LEAVE_S = _WAIT_S + 0.5
"""How long a prediction that is left gets to show its id and be cancelled."""
_POLL_S = (0.1, 1.0)
_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What the SDK raises, unwrapped, where an answer is not what it expects."""
_NOT_TAKEN = frozenset({"user", "n", "store", "metadata", "service_tier", "logprobs", "top_logprobs", "logit_bias", "stream_options"})
"""OpenAI's own fields, which no model's input has."""
_NAMES = {"user": "User", "assistant": "Assistant"}


class ReplicateAdapter(Timed):
    """Models by ``owner/name``, ``owner/name:version`` or bare version. ``usd_per_second`` prices hardware by model name."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        usd_per_second: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(timeouts)
        self._usd_per_second = usd_per_second or {}
        self._client = Client(
            api_token=api_key,
            base_url=base_url or BASE_URL,
            timeout=httpx.Timeout(None, connect=self._timeouts.connect_s),
            transport=_Transport(self._timeouts.connect_s),
            event_hooks={"response": [_refuse]},
        )
        self._http: httpx.AsyncClient = self._client._async_client
        transport: Any = self._http._transport
        transport.max_attempts = 1  # the service owns retries; the SDK offers no other switch
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give back connections, once what was left is cancelled."""
        await asyncio.gather(*self._leaving)
        await self._http.aclose()

    async def _complete(self, request: CompletionRequest) -> Completion:
        started = perf_counter()
        try:
            prediction = await self._created(request, wait=_WAIT_S)
            prediction = await self._finished(prediction)
            return decode(prediction, request, perf_counter() - started, self._usd_per_second.get(request.name))
        except (httpx.HTTPError, ReplicateException, _Refused, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None  # the SDK's words may quote the prompt

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        whole, done = Assembly(request.model), False
        try:
            prediction = await self._created(request, stream=True)
            url = (prediction.urls or {}).get("stream")
            if not url:
                self._leave(prediction)
                raise RequestRejected("the model does not stream", model=request.model)
            try:
                async with aclosing(self._pieces(url, request)) as pieces:
                    async for piece in pieces:
                        yield whole.add(TextDelta(piece))
                done = True
            finally:
                if not done:
                    self._leave(prediction)
            ended = await self._finished(await self._client.predictions.async_get(prediction.id), patience=3)
            told = decode(ended, request, 0.0, self._usd_per_second.get(request.name))
        except (httpx.HTTPError, ReplicateException, _Refused, *_UNREADABLE) as exc:
            raise translate(exc, request.model) from None
        yield whole.whole(told.finish_reason, told.usage, request_id=prediction.id, cost_usd=told.cost_usd, compute_s=told.compute_s)

    async def _pieces(self, url: str, request: CompletionRequest) -> AsyncGenerator[str, None]:
        """The texts of a stream; the SDK's own reader splits them at characters that only Unicode calls line ends."""
        async with self._http.stream("GET", url, headers=_STREAM) as response:
            if "event-stream" not in response.headers.get("content-type", ""):
                raise unreadable(request.model, "no event stream")
            async for event in server_events(response.aiter_bytes()):
                match event.name:
                    case "output":
                        yield event.data.decode()
                    case "error":
                        raise _model_failed(event.data.decode("utf-8", "replace"), request.model)
                    case "done":
                        return
        raise cut_off(request.model)

    async def _created(self, request: CompletionRequest, **how: Any) -> Prediction:
        """Create a prediction; where the caller leaves before its id is known, cancel it as soon as it is."""
        creating = asyncio.ensure_future(self._create(request, **how))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            self._leave(creating)
            raise

    async def _create(self, request: CompletionRequest, **how: Any) -> Prediction:
        name, _, version = request.name.partition(":")
        given = encode(request)
        if version or "/" not in name:
            return await self._client.predictions.async_create(version=version or name, input=given, **how)
        return await self._client.models.predictions.async_create(model=name, input=given, **how)

    async def _finished(self, prediction: Prediction, patience: int | None = None) -> Prediction:
        """Poll until the prediction ends, or at most ``patience`` times."""
        pause, polls, ended = _POLL_S[0], 0, False
        try:
            while prediction.status in ("starting", "processing") and (patience is None or polls < patience):
                await asyncio.sleep(pause)
                prediction = await self._client.predictions.async_get(prediction.id)
                pause, polls = min(pause * 1.5, _POLL_S[1]), polls + 1
            ended = True
            return prediction
        finally:
            if not ended:
                self._leave(prediction)

    def _leave(self, prediction: Prediction | asyncio.Future[Prediction]) -> None:
        """Cancel a prediction that nobody waits for any more, beside whatever comes next."""
        task = asyncio.create_task(self._cancel(prediction))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _cancel(self, prediction: Prediction | asyncio.Future[Prediction]) -> None:
        with suppress(httpx.HTTPError, ReplicateException, _Refused, AdapterError, TimeoutError, *_UNREADABLE):  # it then ends by itself
            async with asyncio.timeout(_LEAVE_S):
                known = await prediction if isinstance(prediction, asyncio.Future) else prediction
                if known.status in ("starting", "processing"):
                    await self._client.predictions.async_cancel(known.id)


def encode(request: CompletionRequest) -> dict[str, Any]:
    """The input of a prediction; ``extra`` adds the fields that only this model knows.

    Raises ``RequestRejected`` for what a prompt cannot hold.
    """
    if request.tools or any(message.tool_calls or message.role == "tool" for message in request.messages):
        raise RequestRejected("models on Replicate take no tools; choose a model with the capability", model=request.model)
    if request.json_output is not None:
        raise RequestRejected("models on Replicate cannot be held to JSON; choose a model with the capability", model=request.model)
    images = [image.url for message in request.messages for image in message.images]
    if len(images) > 1:
        raise RequestRejected("models on Replicate take one image; send one, or choose another provider", model=request.model)
    said = [message for message in request.messages if message.role in _NAMES]
    turns = [message.text for message in said] if len(said) == 1 else [f"{_NAMES[message.role]}: {message.text}" for message in said]
    if len(said) > 1:
        turns.append(f"{_NAMES['assistant']}:")
    options = {
        "prompt": "\n\n".join(turns),
        "system_prompt": "\n\n".join(message.text for message in request.messages if message.role in ("system", "developer")) or None,
        "image": images[0] if images else None,
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop_sequences": ",".join(request.stop) or None,
    }
    own = {key: value for key, value in request.extra.items() if key not in _NOT_TAKEN}
    return {key: value for key, value in options.items() if value is not None} | own


def decode(prediction: Prediction, request: CompletionRequest, latency_s: float, usd_per_second: float | None) -> Completion:
    """The answer in a prediction that has ended.

    Raises ``ProviderDown`` or ``ContentRefused`` where it failed.
    """
    if prediction.status in ("failed", "canceled"):
        raise _model_failed(prediction.error or prediction.status, request.model, prediction.id)
    metrics = prediction.metrics or {}
    read, made, seconds = (_number(metrics.get(name)) for name in ("input_token_count", "output_token_count", "predict_time"))
    usage = None if read is None or made is None else Usage(int(read), int(made))
    limited = usage is not None and request.max_output_tokens is not None and usage.output_tokens >= request.max_output_tokens
    return Completion(
        model=request.model,
        text=_text(prediction.output),
        usage=usage,
        finish_reason=FinishReason.LENGTH if limited else FinishReason.STOP,
        latency_s=latency_s,
        request_id=prediction.id,
        cost_usd=None if seconds is None or usd_per_second is None else seconds * usd_per_second,
        compute_s=seconds,
    )


def translate(exc: Exception, model: str) -> AdapterError:
    """Our error for the SDK's."""
    if isinstance(exc, _Refused):
        return refused(exc.status, exc.body, exc.headers, model)
    if isinstance(exc, httpx.HTTPError):
        return broken(exc, model)
    return unreadable(model, type(exc).__name__)


class _Refused(Exception):
    """An answer with an error status; the SDK's own error loses the headers and stumbles over bodies that are no objects."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


class _Transport(httpx.AsyncHTTPTransport):
    """Limits the time to connect, which the SDK lifts when it creates a prediction."""

    def __init__(self, connect_s: float) -> None:
        super().__init__(limits=httpx.Limits(max_connections=1000, max_keepalive_connections=100))
        self._timeout = {"connect": connect_s, "read": None, "write": None, "pool": None}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "timeout": self._timeout}
        return await super().handle_async_request(request)


async def _refuse(response: httpx.Response) -> None:
    if response.status_code < 300:
        return
    try:
        body = json.loads(await response.aread())
    except ValueError:
        body = None
    raise _Refused(response.status_code, body, response.headers)


def _model_failed(said: str, model: str, request_id: str | None = None) -> AdapterError:
    """A failed prediction says why in words only: they decide the class and go no further."""
    error = refused(None, {"message": said}, {}, model, request_id)
    if isinstance(error, ContentRefused) or not isinstance(error, ProviderDown):
        return error
    return ProviderDown("the prediction did not succeed", model=model, request_id=request_id)


def _text(output: Any) -> str:
    if output is None or isinstance(output, str):
        return output or ""
    if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
        return "".join(output)
    return json.dumps(output, ensure_ascii=False)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
