"""Refuses bodies above the limit, declared or not, before anything keeps them, and those that do not arrive in time."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.api.errors import BodyTooLarge, BodyTooSlow, RequestInvalid, error_response

DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_S = 5.0


class BodyLimit:
    """Pure ASGI: a request with a declared length costs one look at its headers."""

    def __init__(self, app: ASGIApp, max_bytes: int, receipt_s: float = 30.0) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.receipt_s = receipt_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        receive = self._in_time(receive)
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit():
                    await error_response(_unreadable_length())(scope, receive, send)
                elif len(value) > 18 or int(value) > self.max_bytes:
                    await _drain(receive)
                    await error_response(self._refusal())(scope, receive, send)
                else:  # the server holds the body to its declared length
                    await self.app(scope, receive, send)
                return
        await self.app(scope, self._counting(receive), send)

    def _in_time(self, receive: Receive) -> Receive:
        deadline = 0.0
        complete = False

        async def timed() -> Message:
            nonlocal complete, deadline
            if complete:  # from here on the server only says when the caller is gone
                return await receive()
            deadline = deadline or asyncio.get_running_loop().time() + self.receipt_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(
                    f"the body did not arrive within {self.receipt_s:g} s", field="body", remedy="send it at once, or a smaller one"
                ) from None
            complete = not message.get("more_body", False)
            return message

        return timed

    def _counting(self, receive: Receive) -> Receive:
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self.max_bytes:
                if message.get("more_body", False):
                    await _drain(receive)
                raise self._refusal()
            return message

        return counted

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body exceeds {self.max_bytes} bytes",
            field="body",
            remedy="send less: context_tokens and task_type stand in for text, and batches can be split",
        )


async def _drain(receive: Receive) -> None:
    """Let a caller finish sending, within bounds: one that is cut off while it writes never reads the answer."""
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except (TimeoutError, BodyTooSlow):
        return


def _unreadable_length() -> RequestInvalid:
    return RequestInvalid("the length of the body cannot be read", field="Content-Length", remedy="send a whole number of bytes")
