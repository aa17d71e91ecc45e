"""``pointsman models prices`` and ``recost``: what the prices are, how old, and what past calls cost by them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import FAILED, UNKNOWN, money, price, print_error, print_json, print_line, print_table
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.models import Model
    from router.services.recosting import Correction

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def prices(
    stale: Annotated[bool, typer.Option("--stale", help="Only those not checked for half a year, and the unknown ones.")] = False,
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show the price of every model with its source and age; those not checked for 180 days are marked."""
    from router.cli.models import read_catalog  # here: that module puts these commands under "models"
    from router.domain.prices import STALE_DAYS, age_days

    now = time.time()
    found: list[tuple[Model, int | None]] = []
    for model in read_catalog(database_url):
        age = None if model.price is None else age_days(model.price, now)
        if not model.retired and provider in (None, model.provider) and (not stale or age is None or age > STALE_DAYS):
            found.append((model, age))
    if as_json:
        rows = [{"id": m.id, "price": m.price, "age_days": age, "stale": age is not None and age > STALE_DAYS} for m, age in found]
        print_json({"stale_after_days": STALE_DAYS, "prices": rows})
        return
    marked = sum(age is not None and age > STALE_DAYS for _, age in found)
    unknown = sum(model.price is None for model, _ in found)
    title = f"{len(found)} models, USD per million tokens; {unknown} unknown, {marked} not checked for {STALE_DAYS} days"
    columns = ("id", "in", "out", "cached", "cache write", "reasoning", "else", "from", "source", "age")
    print_table(title, columns, [_row(model, age, STALE_DAYS) for model, age in found], figures=range(1, 6))


def recost(
    since: Annotated[str | None, typer.Option(help="Only calls from this day or time (UTC) on, e.g. 2026-11-01.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Compute the cost of past calls anew from their tokens, with the prices in force when they were made.

    Reported costs stay. Corrections are added to the log; what was learned becomes what it would be had the price been right.
    """
    from router import config, parts
    from router.domain.prices import moment
    from router.errors import TaskInvalid
    from router.services import recosting

    earliest = None if since is None else moment(since)
    if since is not None and earliest is None:
        raise TaskInvalid("the day cannot be read", field="since", remedy="write it as 2026-11-01 or 2026-11-01T12:00:00Z")
    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    settings.require_disk("has no history")
    store, _ = parts.open_store(settings)
    try:
        found = recosting.corrections(store, recosting.timelines(store, parts.base_catalog(settings)), since=earliest)
        refused = [] if dry_run else recosting.append(store, found, time.time())
    finally:
        store.close()
    _report(found, dry_run, as_json)
    if refused:
        print_error(f"{len(refused)} corrections were refused: {refused[0].message}", remedy="run the command again")
        raise typer.Exit(FAILED)


def _report(found: "Sequence[Correction]", dry_run: bool, as_json: bool) -> None:
    by_model: dict[str, list[Correction]] = {}
    for one in found:
        by_model.setdefault(one.model, []).append(one)
    totals = [
        {
            "model": model,
            "calls": len(changed),
            "before_usd": sum(one.before_usd or 0.0 for one in changed),
            "after_usd": sum(one.after_usd or 0.0 for one in changed),
            "were_unknown": sum(one.before_usd is None for one in changed),
            "now_unknown": sum(one.after_usd is None for one in changed),
            "first_at": min(one.at for one in changed),
            "last_at": max(one.at for one in changed),
        }
        for model, changed in sorted(by_model.items())
    ]
    if as_json:
        print_json({"dry_run": dry_run, "corrections": len(found), "models": totals})
        return
    if not found:
        print_line("every computed cost agrees with the prices in force")
        return
    columns = ("model", "calls", "before", "after", "were unknown", "now unknown", "first", "last")
    rows = [_totals_row(total) for total in totals]
    print_table(f"{len(found)} costs {'would be' if dry_run else 'were'} corrected", columns, rows, figures=range(1, 6))


def _totals_row(total: dict[str, Any]) -> tuple[str, ...]:
    figures = (f"{total['calls']:,}", money(total["before_usd"]), money(total["after_usd"]), *(f"{total[n]:,}" for n in _UNKNOWNS))
    return (total["model"], *figures, _day(total["first_at"]), _day(total["last_at"]))


_UNKNOWNS = ("were_unknown", "now_unknown")


def _row(model: "Model", age: int | None, stale_days: int) -> tuple[str, ...]:
    known = model.price
    if known is None:
        return (model.id, *(UNKNOWN,) * 2, "–", "–", "–", "–", "–", model.source or UNKNOWN, UNKNOWN)
    others = [f"{price(known.usd_per_image)} per image"] * (known.usd_per_image is not None)
    others += [f"{price(known.usd_per_hardware_s)} per s"] * (known.usd_per_hardware_s is not None)
    apart = (known.cached_input_usd_per_mtok, known.cache_write_usd_per_mtok, known.reasoning_usd_per_mtok)
    told = UNKNOWN if age is None else f"{age} d{' STALE' * (age > stale_days)}"
    return (
        model.id,
        price(known.input_usd_per_mtok),
        price(known.output_usd_per_mtok),
        *("–" if rate is None else price(rate) for rate in apart),
        ", ".join(others) or "–",
        known.effective_from or "–",
        known.source or model.source or UNKNOWN,
        told,
    )


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
