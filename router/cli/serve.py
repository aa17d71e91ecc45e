"""``pointsman serve``: the HTTP service."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from router.config import Settings


def _log_beside(url: str | None) -> str | None:
    """Have whatever opens the database log to standard error: standard output belongs to the answer, which may be JSON or YAML."""
    from router import telemetry

    telemetry.configure("warning", "console")
    return url


DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", callback=_log_beside, help="sqlite:///FILE, postgresql://... or memory:// (kept nowhere)."),
]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; other than loopback only with API keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    database_url: DatabaseUrl = None,
    durability: Annotated[str | None, typer.Option(help="full (survives power loss) or normal (survives a killed process).")] = None,
    migrate: Annotated[bool | None, typer.Option("--migrate/--no-migrate", help="Bring the database up to date first.")] = None,
    policy: Annotated[str | None, typer.Option(help="Default policy, e.g. thompson.")] = None,
    catalog_file: Annotated[Path | None, typer.Option(help="TOML or JSON with models to add or change.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
) -> None:
    """Serve the HTTP API until told to stop (Ctrl-C or SIGTERM).

    Options win over POINTSMAN_* variables, .env and the TOML file; 'pointsman config check' shows what holds.
    """
    given = {
        "host": host, "port": port, "database_url": database_url, "durability": durability, "migrate": migrate,
        "policy": policy, "catalog_file": catalog_file, "log_level": log_level, "log_format": log_format,
    }  # fmt: skip
    _run({name: value for name, value in given.items() if value is not None})


def _run(overrides: dict[str, Any]) -> None:
    gc.disable()  # what imports make stays: looking for garbage among it takes a seventh of a start
    from router import config, serving

    gc.freeze()
    gc.enable()
    settings = config.load(**overrides)
    kept = "nothing is kept: the store is in memory" if settings.in_memory else f"durability {settings.durability}"

    def announce(address: str, _stop: Callable[[], None]) -> None:
        print(f"pointsman listens on {address}  (dashboard: {address}/; API reference: {address}/docs; {kept})", flush=True)
        print(_providers(settings), flush=True)
        print(f"{_access(settings)} Stop with Ctrl-C.", flush=True)

    serving.run(settings, on_listening=announce)


def _providers(settings: "Settings") -> str:
    from router.services.providers import survey

    offered = [offer.name for offer in survey(settings.chosen_providers, settings.provider_urls, os.environ) if offer.remedy is None]
    if not offered:
        return "No provider can be called, so it only decides: set a key, e.g. OPENAI_API_KEY ('pointsman config check' lists them)."
    return f"Calls go to {', '.join(offered)}; 'pointsman config check' says what the other providers need."


def _access(settings: "Settings") -> str:
    from router import config

    if not config.is_loopback(settings.host):
        return "Every call needs an API key."
    return "Only this machine can reach it; calls need an API key as soon as one was made ('pointsman keys create')."
