"""The HTTP server around a service: it takes its address first, then builds what the settings say, and ends in order."""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable

import structlog
import uvicorn

from learning import distributions
from router import config, telemetry
from router.api.app import create_app
from router.bootstrap import build
from router.config import Settings
from router.domain import cues
from router.errors import ConfigurationInvalid, StorageUnavailable

log = structlog.get_logger("service")


def run(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    on_listening: Callable[[str, Callable[[], None]], None] | None = None,
) -> None:
    """``serve`` on the fastest event loop there is, until the process is told to stop."""
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(serve(settings, listener=listener, on_listening=on_listening))


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes it; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def serve(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    on_listening: Callable[[str, Callable[[], None]], None] | None = None,
) -> None:
    """Serve HTTP until the process is told to stop, on ``listener`` or on the settings' host and port.

    ``on_listening`` gets the address and a function that stops the server in order.
    Raises what ``build`` raises, ``ConfigurationInvalid`` where the address cannot be used, ``StorageUnavailable``.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.collect()
            gc.freeze()  # what start-up made stays: not walking it again and again saves a twentieth of a call's CPU, and pauses
            threading.Thread(target=_load, name="load", daemon=True).start()
            if self.started and on_listening is not None:
                on_listening(_address(listening), self.stop)

        def stop(self) -> None:
            self.should_exit = True

    telemetry.configure(settings.log_level, settings.log_format)
    for name in config.unknown_variables(os.environ):
        log.warning("settings.unknown_variable", variable=name, remedy="correct its name or remove it")
    listening = _listen(settings) if listener is None else listener
    with listening:
        server = Server(
            uvicorn.Config(
                create_app(await build(settings)),
                log_config=None,
                access_log=False,  # a line per request costs a third of a request
                server_header=False,
                lifespan="on",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
            )
        )
        await server.serve(sockets=[listening])
    if not server.started:
        raise StorageUnavailable("the service did not start", remedy="its log says why; 'pointsman db check' looks at the database")


def _load() -> None:
    """What the first decision would otherwise wait for."""
    distributions.load()
    cues.log_odds("")


def _listen(settings: Settings) -> socket.socket:
    """Take the address before anything is built, so that one in use costs nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as exc:
        if isinstance(exc.__context__, socket.gaierror):  # asked for by its name, which is not known
            raise ConfigurationInvalid(
                "the host has no address", field="host", remedy="name an address of this machine with --host or POINTSMAN_HOST"
            ) from exc
        raise ConfigurationInvalid(
            f"port {settings.port} of {settings.host} cannot be used ({os.strerror(exc.errno or 0)})",
            field="port",
            remedy="stop what listens there, or choose another with --port or POINTSMAN_PORT",
        ) from exc


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
