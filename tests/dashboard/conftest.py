"""A real service over a log that holds what attackers would send, in a thread of its own."""

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services
from router.domain.catalog import load_shipped
from router.ports import Store
from router.storage import schema
from router.storage.sql import SqlStore
from router.testing.logs import LogPlan, groups

PAYLOADS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "'-window.pwned=1-'{{7*7}}",
    "javascript:window.pwned=1//</title></textarea></details>",
)
"""What was stored before anybody checked it, or comes from another program's database."""
HOSTILE = LogPlan(
    60,
    seed=7,
    task_types=PAYLOADS[:3],
    models=tuple(f"evil/{text}" for text in PAYLOADS),
    judges=PAYLOADS[2:],
    reason="because " + PAYLOADS[0] + PAYLOADS[1],
    tags=((PAYLOADS[1], PAYLOADS[0]), ("team", PAYLOADS[2])),
    episode_id=PAYLOADS[4],
    start=1_760_020_000.0,
)
FRIENDLY = LogPlan(600)


def catalog(folder: Path, *models: str, only: bool = False) -> Path:
    """A catalogue file with those of these models whose ids it takes, beside those that ship or instead of them."""
    facts = {"family": "made-up", "context_window": 128_000, "price": {"input": 0.5, "output": 1.5}}
    file = folder / "models.json"
    retired = [{"id": model.id, "retired": True} for model in load_shipped()] if only else []
    file.write_text(json.dumps({"models": [{"id": model} | facts for model in models if " " not in model] + retired}))
    return file


def fill(store: Store, *plans: LogPlan) -> None:
    for plan in plans:
        for group in groups(plan):
            store.commit(group)


def database(folder: Path, *plans: LogPlan) -> str:
    url = f"sqlite:///{folder / 'log.db'}"
    schema.upgrade(url)
    store = SqlStore(url, "normal")
    fill(store, *plans)
    store.close()
    return url


class Service:
    """Pointsman on a free loopback port."""

    def __init__(self, url: str, **settings: Any) -> None:
        structlog.reset_defaults()  # an earlier test's service wrote to a stream that is closed by now
        self._settings = config.load(**({"database_url": url, "durability": "normal", "log_level": "warning"} | settings))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._fault: BaseException | None = None
        self.services: Services
        self.loop: asyncio.AbstractEventLoop

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:  # noqa: BLE001 - told to the test, which waits
            self._fault = exc
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.services = await bootstrap.build(self._settings)
            settings = uvicorn.Config(create_app(self.services), log_config=None, lifespan="on", ws="none", timeout_keep_alive=75)
            self._server = uvicorn.Server(settings)
            serving = asyncio.create_task(self._server.serve(sockets=[listener]))
            while not self._server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            if self.services.tallying is not None:
                await self.services.tallying.catch_up()
            self._ready.set()
            await serving

    def __enter__(self) -> "Service":
        self._thread.start()
        assert self._ready.wait(120)
        if self._fault is not None:
            raise self._fault
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(120)

    def do(self, work: Any) -> Any:
        """Run a coroutine on the service's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)
