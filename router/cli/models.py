"""``pointsman models``: the catalogue, as the settings' database holds it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import UNKNOWN, price, print_json, print_line, print_table
from router.cli.prices import prices, recost
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.catalog import Catalog
    from router.domain.models import Model
    from router.services.models import ModelService

app = typer.Typer(
    help="List, show, add and retire models. A running service reads changes made here when it starts next.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


app.command("prices")(prices)
app.command("recost")(recost)


@app.command("list")
def list_models(
    include_retired: Annotated[bool, typer.Option("--all", help="Retired models too.")] = False,
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """List the models with their windows, prices (USD per million tokens) and the age of the facts."""
    catalog = read_catalog(database_url)
    listed = [m for m in catalog if (include_retired or not m.retired) and provider in (None, m.provider)]
    if as_json:
        print_json({"catalog_version": catalog.version, "models": [_facts(model) for model in listed]})
        return
    columns = ("provider", "id", "source", "window", "in $/M", "out $/M", "age")
    rows = [(m.provider, f"{m.id}{' (retired)' * m.retired}", _source(m), f"{m.context_window:,}", *_prices(m), _age(m)) for m in listed]
    print_table(f"{len(listed)} models, catalogue {catalog.version}", columns, rows, figures=range(3, 7))


@app.command()
def show(model_id: Annotated[str, typer.Argument(metavar="ID")], database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show everything that is known about one model, with its sources."""
    model = read_catalog(database_url).get(model_id)
    if as_json:
        print_json(_facts(model))
        return
    rows = [(name, _text(value)) for name, value in _flat(_facts(model))]
    print_table(model.id, ("fact", "value"), rows)


@app.command()
def add(file: Annotated[Path, typer.Argument(metavar="FILE")], database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Add or change models from a TOML or JSON file like that of POINTSMAN_CATALOG_FILE: known ids are changed key by key."""
    import asyncio
    from dataclasses import fields

    from router.domain.catalog import load_file

    with _service(database_url) as service:
        before = service.catalog
        wanted = load_file(file, before)
        changed = [model for model in wanted if model.id not in before or model != before.get(model.id)]
        for model in changed:
            if model.id not in before:
                asyncio.run(service.add(model))
            else:
                facts = {f.name: getattr(model, f.name) for f in fields(model) if f.name not in ("id", "provider", "name", "version")}
                asyncio.run(service.change(model.id, facts))
        _report(changed, "added" if all(model.id not in before for model in changed) else "added or changed", as_json)


@app.command()
def retire(ids: Annotated[list[str], typer.Argument(metavar="ID...")], database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Take models out of routing; they stay listed and keep what was learned about them."""
    import asyncio

    with _service(database_url) as service:
        for model_id in ids:  # all or nothing: a misspelt id must not leave half of them retired
            service.catalog.get(model_id)
        _report([asyncio.run(service.retire(model_id)) for model_id in ids], "retired", as_json)


def _report(models: Sequence["Model"], done: str, as_json: bool) -> None:
    if as_json:
        print_json({"done": done, "models": [_facts(model) for model in models]})
    elif models:
        print_line(f"{done}: {', '.join(model.id for model in models)}")
        print_line("A running service reads this when it starts next; POST, PATCH and DELETE /v1/models change it at once.")
    else:
        print_line("nothing to change")


def read_catalog(database_url: str | None) -> "Catalog":
    """What ships, the operator's file and the database's changes; creates no database."""
    from router import config, parts
    from router.storage import schema

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    base = parts.base_catalog(settings)
    if settings.in_memory or not schema.check(settings.database_url).ready:
        return base
    from router.storage.sql import SqlStore

    store = SqlStore(settings.database_url)
    try:
        return base.merged(store.models())
    finally:
        store.close()


@contextmanager
def _service(database_url: str | None) -> "Iterator[ModelService]":
    import asyncio

    from router import config, parts
    from router.services.models import ModelService

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    settings.require_disk("keeps no models")
    store, _ = parts.open_store(settings)
    try:
        service = ModelService(store, parts.base_catalog(settings), clock=time.time)
        asyncio.run(service.load())
        yield service
    finally:
        store.close()


def _facts(model: "Model") -> dict[str, Any]:
    from dataclasses import asdict

    facts = asdict(model)
    for name in ("modalities", "capabilities", "tags"):
        facts[name] = sorted(facts[name])
    return facts


def _flat(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in facts.items():
        rows += [(f"{name}.{key}", inner) for key, inner in value.items()] if isinstance(value, dict) else [(name, value)]
    return rows


def _text(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _prices(model: "Model") -> tuple[str, str]:
    known = model.price
    return (price(None), price(None)) if known is None else (price(known.input_usd_per_mtok), price(known.output_usd_per_mtok))


def _source(model: "Model") -> str:
    return (model.price.source if model.price is not None and model.price.source else model.source) or UNKNOWN


def _age(model: "Model") -> str:
    read = (model.price.checked if model.price is not None else "") or model.checked
    try:
        days = (datetime.now(UTC).date() - date.fromisoformat(read)).days
    except ValueError:
        return UNKNOWN
    return "today" if days <= 0 else f"{days} d"
