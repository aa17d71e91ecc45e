"""``pointsman budgets``: the limits on money, those of the settings and those set over them while services run."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import money, print_json, print_line, print_table
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.budgets import Budgets, Limit
    from router.ports import Store
    from router.services.overrides import OverrideService

app = typer.Typer(help="Show, set and lift limits on money. A running service knows within two seconds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show the limits that hold, where each comes from, and what was spent today, as far as services have counted it."""
    with _opened(database_url) as (store, overrides, base):
        asyncio.run(overrides.load())
        _print(store, overrides, base, as_json)


@app.command("set")
def set_limits(
    usd_per_request: Annotated[float | None, typer.Option(help="What a request may cost on average.")] = None,
    usd_per_day: Annotated[float | None, typer.Option(help="What all requests of a day (UTC) may cost.")] = None,
    exhausted: Annotated[str | None, typer.Option(help="Where the day's money is spent: cheapest or refuse.")] = None,
    exploration_quality_per_day: Annotated[float | None, typer.Option(help="Points of quality that a day may give up to learn.")] = None,
    exploration_usd_per_day: Annotated[float | None, typer.Option(help="USD that a day may spend on top to learn.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Set limits over those of the settings, until they are lifted."""
    from router.domain.budgets import read_values

    given = {
        "usd_per_request": usd_per_request, "usd_per_day": usd_per_day, "exhausted": exhausted,
        "exploration_quality_per_day": exploration_quality_per_day, "exploration_usd_per_day": exploration_usd_per_day,
    }  # fmt: skip
    _change(read_values({name: value for name, value in given.items() if value is not None}), database_url, as_json)


@app.command()
def lift(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Limits as 'show' names them.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Lift limits that were set at run time, so that the settings hold again."""
    from router.domain.budgets import read_values

    _change(read_values({name.replace("-", "_"): None for name in names}), database_url, as_json)


def _change(values: dict[str, Any], database_url: str | None, as_json: bool) -> None:
    from router.domain.budgets import check, in_force
    from router.domain.overrides import BUDGET

    with _opened(database_url, create=True) as (store, overrides, base):
        asyncio.run(overrides.change(BUDGET, values, None, lambda latest: check(in_force(base, latest))))
        _print(store, overrides, base, as_json)


def _print(store: "Store", overrides: "OverrideService", base: "Budgets", as_json: bool) -> None:
    from router.domain.budgets import SETTINGS, in_force, limits
    from router.domain.overrides import BUDGET
    from router.services.spending import SpendingService

    held = in_force(base, overrides.latest(BUDGET))
    spending = SpendingService(store, held.usd_per_day, exhausted=held.exhausted, aim=lambda _: None, clock=time.time)
    asyncio.run(spending.read())
    spent, told = spending.standing.spent_usd, limits(base, overrides.latest(BUDGET))
    if as_json:
        print_json({"limits": told, "today": {"spent_usd": spent}})
        return
    rows = [(name, _value(name, limit.value), _source(limit, SETTINGS[name])) for name, limit in told.items()]
    print_table("limits on money", ("limit", "value", "from"), rows)
    print_line(f"{money(spent)} spent today (UTC), as far as it is counted")


def _value(name: str, value: float | str | None) -> str:
    if value is None:
        return "no limit"
    return money(float(value)) if "usd" in name else str(value)


def _source(limit: "Limit", setting: str) -> str:
    if limit.at is None:
        return f"settings ({setting})"
    at = datetime.fromtimestamp(limit.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"set {at}{f' by {limit.key_id}' if limit.key_id else ''}, over {'no limit' if limit.setting is None else limit.setting}"


@contextmanager
def _opened(database_url: str | None, *, create: bool = False) -> "Iterator[tuple[Store, OverrideService, Budgets]]":
    from router import config, parts
    from router.services.overrides import OverrideService
    from router.storage import schema

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    settings.require_disk("keeps no budgets")
    if not create:
        schema.require(settings.database_url)
    store, _ = parts.open_store(settings)
    try:
        yield store, OverrideService(store, clock=time.time), parts.base_budgets(settings)
    finally:
        store.close()
