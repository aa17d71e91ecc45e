"""A real Pointsman over real sockets, whose providers are the stub."""

import asyncio
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services
from router.testing import Stub

CATALOG = """
[[models]]
id = "alpha/one"
family = "one"
context_window = 128000
modalities = ["text", "image"]
capabilities = ["tools", "json", "streaming"]
price = { input = 1.0, output = 2.0, cached_input = 0.1 }
[[models]]
id = "beta/two"
family = "two"
context_window = 128000
modalities = ["text", "image"]
capabilities = ["tools", "json", "streaming"]
price = { input = 1.0, output = 2.0 }
[[models]]
id = "gamma/three"
family = "three"
context_window = 128000
modalities = ["text", "image"]
capabilities = ["tools", "json", "streaming"]
price = { input = 1.0, output = 2.0 }
"""
MODELS = ("alpha/one", "beta/two", "gamma/three")
NAMES = ("one", "two", "three")


class Gateway:
    """The service in a thread of its own."""

    def __init__(self, folder: Path, stub: Stub, **settings: Any) -> None:
        self.stub = stub
        self.database = folder / "log.db"
        catalog = folder / "models.toml"
        catalog.write_text(CATALOG)
        url = stub.base_url("openai")
        given = {
            "database_url": f"sqlite:///{self.database}",
            "durability": "normal",
            "catalog_file": catalog,
            "providers": "alpha,beta,gamma",
            "provider_urls": {"alpha": url, "beta": url, "gamma": url},
            "provider_timeout_s": 240.0,
            "provider_first_token_s": 120.0,
            "provider_idle_s": 120.0,
        }
        self.settings = config.load(**(given | settings))
        self.services: Services | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.services = await bootstrap.build(self.settings)
            settings = uvicorn.Config(create_app(self.services), log_config=None, lifespan="on", ws="none", timeout_keep_alive=75)
            self.server = uvicorn.Server(settings)
            serving = asyncio.create_task(self.server.serve(sockets=[listener]))
            while not self.server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            self._ready.set()
            await serving

    def start(self) -> "Gateway":
        self._thread.start()
        assert self._ready.wait(120)
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(120)
        assert not self._thread.is_alive()

    def client(self, **options: Any) -> Any:
        import openai

        return openai.AsyncOpenAI(
            base_url=f"{self.address}/v1", http_client=openai.DefaultAioHttpClient(), **({"api_key": "any", "max_retries": 0} | options)
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the log holds."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    async def settled(self, query: str, holds: Callable[[list[tuple[Any, ...]]], bool], ) -> list[tuple[Any, ...]]:
        """The log's rows as soon as they hold what is expected."""
        for _ in range(3_000):
            if holds(found := self.rows(query)):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"{query}: {found}")


@pytest.fixture(scope="session")
def running_stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def gateway(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.chdir(tmp_path)
    running_stub.forget()
    made = Gateway(tmp_path, running_stub).start()
    yield made
    made.stop()
