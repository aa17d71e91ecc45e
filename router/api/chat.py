"""``POST /v1/chat/completions``: OpenAI's endpoint, answered by the model that the evidence favours."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.types import Completion, Delta, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage
from learning.errors import LearningError
from router.api.access import CHAT, allow
from router.api.conversation import ChatRequest, to_call
from router.api.errors import error_body, error_headers, status_of
from router.api.reading import read
from router.api.services import services_of
from router.domain.decisions import Decision, is_unlogged
from router.errors import ProviderUnavailable, RouterError
from router.services.calls import Opened, Served

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ClientGone(Exception):
    """Nobody is left to answer."""


async def chat_completions(request: Request) -> ASGIApp:
    """Answer a chat, whole or as a stream, by the model that is chosen for it.

    The answer names the decision, in `router` and in `x-pointsman-decision`, so that it can be scored with `/v1/feedback`.
    """
    try:
        key_id = await allow(request, CHAT)
        services = services_of(request)
        chat = await read(request, ChatRequest)
        call = to_call(chat, services.default_weights, key_id, _trace(request))
        if services.texts is not None:
            said = await services.texts.read([message.text for message in call.request.messages])
            call = replace(call, task=replace(call.task, text=said))
        execution = services.execution
        if execution is None:
            raise ProviderUnavailable("this service makes no calls", field="model", remedy="set a provider's key, e.g. OPENAI_API_KEY")
        caller = _Caller(request.receive)
        if not chat.stream:
            with closing(caller):
                served = await caller.waits_for(execution.complete(call))
            return Response(whole(served), media_type="application/json", headers=_headers(served.decision, served.completion.model))
        events = execution.stream(call)
        try:
            opened = await caller.waits_for(anext(events))
        except BaseException:
            caller.close()
            await events.aclose()
            raise
        assert isinstance(opened, Opened)  # noqa: S101 - for the type checker: it comes first
        usage = chat.stream_options is not None and bool(chat.stream_options.include_usage)
        return Streamed(caller, opened, events, include_usage=usage)
    except (RouterError, LearningError) as exc:
        return refusal(exc)
    except ClientGone:
        return Response(status_code=499)


def _trace(request: Request) -> dict[str, str]:
    return {name.decode(): str(value, "latin-1") for name, value in request.scope["headers"] if name in (b"traceparent", b"tracestate")}


def refusal(exc: Exception) -> Response:
    """An error in OpenAI's shape."""
    return Response(_encode({"error": _error(exc)}), status_of(exc), headers=error_headers(exc), media_type="application/json")


def _error(exc: Exception) -> dict[str, Any]:
    told, status = error_body(exc), status_of(exc)
    remedy = f" ({told['remedy']})" if told["remedy"] else ""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"message": f"{told['message']}{remedy}", "type": kind, "param": told["field"], "code": told["type"]}


def whole(served: Served) -> bytes:
    """The body of an answer."""
    completion = served.completion
    if completion.body is not None:  # it came in this shape: what it says beyond our types stays
        body: dict[str, Any] = msgspec.json.decode(completion.body)
        body["model"] = completion.model
        body.setdefault("object", "chat.completion")
    else:
        body = {
            "id": f"chatcmpl-{served.decision.id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": completion.model,
            "choices": [{"index": 0, "message": _message(completion), "logprobs": None, "finish_reason": completion.finish_reason}],
            "usage": _usage(completion.usage),
        }
    body["router"] = _told(served)
    return _encode(body)


class Streamed:
    """The rest of a stream as server-sent events; the upstream is closed as soon as the client is gone."""

    def __init__(
        self, caller: "_Caller", opened: Opened, events: AsyncGenerator[Opened | Delta | Served, None], *, include_usage: bool
    ) -> None:
        self._caller = caller
        self._events = events
        self._include_usage = include_usage
        self._headers = [*_EVENT_STREAM, *((k.encode(), v.encode("latin-1")) for k, v in _headers(opened.decision, opened.model).items())]
        self._head = {
            "id": f"chatcmpl-{opened.decision.id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": opened.model,
        }
        none = b',"usage":null' if include_usage else b""
        self._before = b"data: " + _encode(self._head)[:-1] + b',"choices":[{"index":0,"delta":'
        self._after = b',"logprobs":null,"finish_reason":null}]' + none + b"}\n\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        with closing(self._caller) as caller:
            try:
                await caller.waits_for(self._send(send))
            except ClientGone:
                return

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async with aclosing(self._events) as events:
            piece, begun = self._chunk({"role": "assistant", "content": "", "refusal": None}), False
            try:
                async for event in events:
                    if isinstance(event, Served):
                        piece += self._end(event)
                    elif not isinstance(event, Opened):
                        piece += self._chunk(_delta(event))
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    if not begun:
                        begun = True
                        await asyncio.sleep(0)  # what is sent leaves when the loop's turn ends: pieces that came right behind can wait
                    piece = b""
            except RouterError as exc:
                piece = b"data: " + _encode({"error": _error(exc)}) + b"\n\n"
        await send({"type": "http.response.body", "body": piece, "more_body": False})

    def _chunk(self, delta: dict[str, Any]) -> bytes:
        return self._before + _encode(delta) + self._after

    def _end(self, served: Served) -> bytes:
        completion = served.completion
        last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": completion.finish_reason}
        chunks = [{**self._head, "choices": [last], "router": _told(served)}]
        if self._include_usage:
            chunks[0]["usage"] = None
            chunks.append({**self._head, "choices": [], "usage": _usage(completion.usage)})
        return b"".join(b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


class _Caller:
    """Whoever waits for the answer; belongs to the task that works on it, and to one answer."""

    def __init__(self, receive: Receive) -> None:
        here = asyncio.current_task()
        assert here is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        self._receive = receive
        self._here = here
        self._gone = False
        self._watching: asyncio.Task[None] | None = None
        self._due = here.get_loop().call_soon(self._begin)  # what is done for them is sent on its way first

    async def waits_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, which is cancelled where the client hangs up first.

        Raises ``ClientGone``.
        """
        try:
            return await work
        except asyncio.CancelledError:
            if self._gone and not self._here.uncancel():
                raise ClientGone from None
            raise

    def close(self) -> None:
        """Nothing is done for them any more."""
        self._due.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._here.cancel()


def _headers(decision: Decision, model: str) -> dict[str, str]:
    reason = decision.reason.encode("ascii", "replace").decode().replace("\n", " ")[:500]
    return {"x-pointsman-decision": decision.id, "x-pointsman-model": model, "x-pointsman-reason": reason}


def _told(served: Served) -> dict[str, Any]:
    decision = served.decision
    return {
        "decision_id": decision.id,
        "logged": not is_unlogged(decision.id),
        "chosen": decision.model,
        "model": served.completion.model,
        "reason": decision.reason,
        "propensity": decision.propensity,
        "forced": decision.forced,
        "fallback": decision.fallback or len({a.model for a in served.attempts}) > 1,
        "task_type": decision.task_type,
        "cost_usd": served.cost_usd,
        "attempts": [
            {"model": a.model, "status": a.status, "error": a.error, "latency_s": a.latency_s, "forced": a.forced} for a in served.attempts
        ],
    }


def _message(completion: Completion) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.text or None, "refusal": None}
    if not completion.tool_calls:
        message["content"] = completion.text
    else:
        message["tool_calls"] = [_call(call) for call in completion.tool_calls]
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    told: dict[str, Any] = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return told if call.signature is None else told | _signed(call.signature)


def _signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}}


def _delta(event: Delta) -> dict[str, Any]:
    match event:
        case TextDelta(text):
            return {"content": text}
        case ReasoningDelta(text):
            return {"reasoning_content": text}
        case ToolCallDelta():
            function: dict[str, Any] = {"arguments": event.arguments}
            told: dict[str, Any] = {"index": event.index, "function": function}
            if event.id is not None:
                told |= {"id": event.id, "type": "function"}
            if event.name is not None:
                function["name"] = event.name
            if event.signature is not None:
                told |= _signed(event.signature)
            return {"tool_calls": [told]}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
