"""A stream's first piece does not wait for those that come right behind it."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from router import bootstrap, config
from router.api.app import create_app

ASK = json.dumps({"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Say something."}]}).encode()
HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(ASK))]


async def test_the_first_piece_leaves_before_the_next_is_worked_on() -> None:
    sent: list[bytes] = []
    sent_by_the_end_of_the_turn: list[int] = []
    asked = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": ASK, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])
            asyncio.get_running_loop().call_soon(lambda: sent_by_the_end_of_the_turn.append(len(sent)))

    services = await bootstrap.build(config.load(database_url="memory://", providers="scripted"))
    app = create_app(services)
    async with app.router.lifespan_context(app):
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": HEADERS}, receive, send)
        await asyncio.sleep(0)
    assert sent_by_the_end_of_the_turn[0] == 1
    assert len(sent) > 2
    assert sent[0].count(b"data: ") == 2, "the role, and the first words"
    assert sent[-2].endswith(b"data: [DONE]\n\n")
