"""``pointsman keys``: who may use the service, for what, how fast and for how much."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import money, print_json, print_line, print_table
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.keys import ApiKey
    from router.services.keys import KeyService

app = typer.Typer(help="Create, list and revoke API keys. A running service knows within two seconds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option("--scope", help="route, chat, feedback, read or admin; once for each.")],
    expires: Annotated[str | None, typer.Option(help="Time until it expires, e.g. 90d or 12h; never if left out.")] = None,
    rate: Annotated[str | None, typer.Option(help="Most requests per time, e.g. 10/s or 600/min.")] = None,
    budget_usd: Annotated[str | None, typer.Option("--budget-usd", help="Most USD per hour, day, week or month, e.g. 50/day.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Create a key and print it, this once: only its hash is kept."""
    import asyncio

    from router.domain.keys import asked_for, read_scopes, shown

    wanted = asked_for(name, read_scopes(scope), time.time(), expires=expires, rate=rate, budget_usd=budget_usd)
    with _service(database_url, create=True) as service:
        made, token = asyncio.run(service.create(wanted))
    if as_json:
        print_json(shown(made, 0.0 if made.budget is not None else None) | {"key": token})
        return
    print_line(token)
    print_line(f"This is the key {made.name} ({made.id}). It is shown this once: keep it now. Send it as Authorization: Bearer KEY.")


@app.command("list")
def list_keys(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """List the keys: what they may do, when they end, and what they drew of their budgets in this period."""
    import asyncio

    from router.domain.keys import shown

    with _service(database_url) as service:
        keys = asyncio.run(service.listed())
    now = time.time()
    if as_json:
        print_json({"keys": [shown(key, drawn) for key, drawn in keys]})
        return
    rows = [
        (
            key.name,
            key.id,
            f"{key.prefix}…",
            " ".join(sorted(key.scopes)),
            _state(key, now),
            "–" if key.rate is None else f"{key.rate.count} per {key.rate.period_s} s",
            "–" if key.budget is None else f"{money(drawn)} of {money(key.budget.usd)} per {key.budget.period}",
        )
        for key, drawn in keys
    ]
    print_table(f"{len(keys)} API keys", ("name", "id", "key", "may", "state", "rate", "budget"), rows)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="Its id, its name or how it starts; not the key itself.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Revoke a key, for good. A service that has known keys never goes back to serving without one."""
    import asyncio

    with _service(database_url) as service:
        revoked = asyncio.run(service.revoke(key))
    if as_json:
        print_json({"revoked": revoked.id, "name": revoked.name})
    else:
        print_line(f"revoked {revoked.name} ({revoked.id}); a running service refuses it within two seconds")


@contextmanager
def _service(database_url: str | None, *, create: bool = False) -> "Iterator[KeyService]":
    """What keeps the keys; ``create``: in a database that is made where there is none."""
    from router import config, parts
    from router.domain.ids import new_id
    from router.services.keys import KeyService

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    settings.require_disk("keeps no keys")
    if not create:
        from router.storage import schema

        schema.require(settings.database_url)
    store, _ = parts.open_store(settings)
    try:
        yield KeyService(store, clock=time.time, monotonic=time.monotonic, new_id=new_id, loopback=True)
    finally:
        store.close()


def _state(key: "ApiKey", now: float) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"valid until {_day(key.expires_at)}" if key.usable(now) else f"expired {_day(key.expires_at)}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
