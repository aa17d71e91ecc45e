"""``pointsman battery``: run cases with known answers on the models, and see what they showed."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import FAILED, UNKNOWN, money, number, print_error, print_json, print_line, print_table, progress
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.battery_report import BatteryReport, CellResult
    from router.domain.measured import Measure
    from router.services.battery import Prepared
    from router.services.battery_play import Progress

app = typer.Typer(help="Run cases with known answers on several models; what they show teaches the router.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A battery file, or the name of one that ships.")]
_COMPARED = ("similarity", "agreement")


@app.command("list")
def list_batteries(as_json: Json = False) -> None:
    """List the batteries that ship."""
    from router.batteries.files import load, shipped

    found = [load(name) for name in shipped()]
    if as_json:
        print_json([{"name": b.name, "title": b.title, "models": b.models, "task_types": [s.task_type for s in b.sections]} for b in found])
        return
    rows = [
        (b.name, b.title, ", ".join(s.task_type for s in b.sections), str(len(b.models)), f"{sum(len(s.cases) for s in b.sections):,}")
        for b in found
    ]
    print_table("batteries that ship", ("name", "what it asks", "task types", "models", "cases"), rows, figures=(3, 4))


@app.command()
def run(
    file: File,
    max_usd: Annotated[float, typer.Option("--max-usd", help="No call is made that might bring the run above this.")] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be called and what it would cost, and call nobody.")] = False,
    anew: Annotated[bool, typer.Option("--new", help="Begin a new run even where one of the same battery is unfinished.")] = False,
    allow_unpriced: Annotated[
        bool, typer.Option("--allow-unpriced", help="Call models whose price is unknown: --max-usd cannot hold their cost.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Call every model that suits a task type with every case of it, judge the answers, and put everything into the log.

    A run that was killed or stopped (Ctrl-C) goes on when the command is repeated; no call is paid for twice.
    """
    import math

    from router import config
    from router.batteries.files import load
    from router.errors import TaskInvalid

    if not (math.isfinite(max_usd) and max_usd >= 0):
        raise TaskInvalid("the limit of money must be a number, not negative", field="max-usd", remedy="e.g. --max-usd 2.50")
    battery = load(file)
    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    if not dry_run:
        settings.require_disk("keeps no runs")

    async def work() -> dict[str, Any]:
        from router import errands
        from router.domain.battery_report import report
        from router.services.battery import records_of

        async with errands.battery_service(settings) as (service, store):
            prepared = await service.prepare(battery, anew=anew)
            if not as_json:
                _announce(prepared, max_usd)
            if dry_run:
                return {"prepared": _plan(prepared), "report": None, "progress": None}
            _affordable(prepared, max_usd, allow_unpriced)
            made = await _play(service, prepared, max_usd)
            records = await asyncio.to_thread(records_of, store, prepared.run.id)
            current = next(r for r in store.battery_runs() if r.id == prepared.run.id)
            return {"prepared": _plan(prepared), "report": report(current, store.battery_cells(current.id), records), "progress": made}

    done = asyncio.run(work())
    if as_json:
        print_json(done)
    elif done["report"] is not None:
        _show(done["report"])
    if (made := done["progress"]) is not None and (made.capped or made.gave_up):
        told = "; ".join(f"{model} was given up after {error}" for model, error in sorted(made.gave_up.items()))
        print_error(
            f"the run stopped at its limit of {money(max_usd)}" if made.capped else f"not every model was called to the end: {told}",
            remedy="repeat the command with a higher --max-usd" if made.capped else "correct that and repeat the command: it goes on",
        )
        raise typer.Exit(FAILED)


@app.command()
def report(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Id of a run; the newest where it is left out.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show what a run found: quality, similarity to the reference and between models, speed and cost."""
    from router.domain.battery_report import report as put_together
    from router.errors import TaskInvalid
    from router.services.battery import records_of

    store = _store(database_url)
    try:
        runs = store.battery_runs()
        chosen = next((r for r in runs if run_id in (None, r.id)), None)
        if chosen is None:
            raise TaskInvalid("there is no such run", field="run", remedy="'pointsman battery runs' lists them")
        found = put_together(chosen, store.battery_cells(chosen.id), records_of(store, chosen.id))
    finally:
        store.close()
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command()
def runs(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """List the runs, the newest first."""
    from datetime import UTC, datetime

    store = _store(database_url)
    try:
        found = store.battery_runs()
    finally:
        store.close()
    if as_json:
        print_json(found)
        return
    rows = [(r.id, r.name, r.status, datetime.fromtimestamp(r.started_at, UTC).strftime("%Y-%m-%d %H:%M"), r.digest[:12]) for r in found]
    print_table(f"{len(rows)} runs", ("run", "battery", "status", "started (UTC)", "digest"), rows)


def _store(database_url: str | None) -> Any:
    from router import config, parts

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    settings.require_disk("keeps no runs")
    return parts.open_store(settings)[0]


async def _play(service: Any, prepared: "Prepared", max_usd: float) -> "Progress":
    """Run with a bar; Ctrl-C lets what is under way end."""
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    with progress("battery") as tell:

        def on_progress(made: "Progress") -> None:
            if tell is not None:
                tell(made.done + made.failed, made.total)

        made: Progress = await service.run(prepared, max_usd=max_usd, stop=stop, on_progress=on_progress)
    return made


def _affordable(prepared: "Prepared", max_usd: float, allow_unpriced: bool) -> None:
    """Refuse before the first call.

    Raises ``TaskInvalid``.
    """
    from router.errors import TaskInvalid

    estimate = prepared.estimate
    if estimate.unpriced and not allow_unpriced:
        raise TaskInvalid(
            f"the price of {', '.join(estimate.unpriced)} is unknown, so the limit of money cannot hold",
            field="max-usd",
            remedy="give the price in a catalogue file (POINTSMAN_CATALOG_FILE), or add --allow-unpriced",
        )
    expected = prepared.spent_usd + estimate.expected_usd
    if expected > max_usd:
        raise TaskInvalid(
            f"about {money(expected)} are expected, more than the limit of {money(max_usd)}",
            field="max-usd",
            remedy=f"raise it, e.g. --max-usd {max(expected * 1.3, 0.01):.2f}, or ask fewer models",
        )


def _plan(prepared: "Prepared") -> dict[str, Any]:
    return {
        "run": prepared.run.id,
        "resumed": prepared.resumed,
        "calls_left": len(prepared.todo),
        "calls_done": prepared.done,
        "calls_unknown": prepared.unknown,
        "spent_usd": prepared.spent_usd,
        "estimate": prepared.estimate,
        "skipped": [pair for pair in prepared.pairs if pair.skipped is not None],
    }


def _announce(prepared: "Prepared", max_usd: float) -> None:
    estimate = prepared.estimate
    print_line(f"{prepared.battery.name}: {prepared.battery.title}")
    if prepared.resumed:
        lost = f", {prepared.unknown} were under way when it ended and are not repeated" if prepared.unknown else ""
        print_line(f"goes on with run {prepared.run.id}: {prepared.done:,} calls are made{lost}, {money(prepared.spent_usd)} spent")
    for pair in prepared.pairs:
        if pair.skipped is not None:
            print_line(f"  skipped: {pair.task_type} on {pair.model} ({pair.skipped})")
    rows = [(model, f"{calls:,}", money(usd)) for model, calls, usd in estimate.by_model]
    print_table(f"{estimate.calls:,} calls to make", ("model", "calls", "expected"), rows, figures=(1, 2))
    judging = f", at most {money(estimate.judging_usd)} of it for judges that ask models" if estimate.judging_usd else ""
    told = judging + (f", without {len(estimate.unpriced)} models of unknown price" if estimate.unpriced else "")
    print_line(f"about {money(estimate.expected_usd)}, at most {money(estimate.most_usd)}{told}; the limit is {money(max_usd)}\n")


def _show(found: "BatteryReport") -> None:
    tasks = list(dict.fromkeys(cell.task_type for cell in found.cells))
    for task in tasks:
        cells = [cell for cell in found.cells if cell.task_type == task]
        cells.sort(key=lambda cell: (cell.quality is None, -(cell.quality.mean if cell.quality else 0.0)))
        extra = sorted({name for cell in cells for name in cell.metrics} - {*_COMPARED, "tests"})  # the share of the tests is the quality
        columns = ("model", "quality [90 %]", "vs baseline", *_COMPARED, *extra, "tokens/s", "s", "$ per 1,000", "n")
        rows = [_row(cell, extra) for cell in cells if cell.skipped is None]
        print_table(task, columns, rows, figures=range(1, len(columns)))
        for cell in cells:
            if cell.skipped is not None:
                print_line(f"skipped: {cell.model} ({cell.skipped})")
        print_line()
    if found.totals:
        agents = found.totals[0].agents
        totals = [(t.model, number(t.quality), money(t.cost_usd), number(t.latency_s, 1)) for t in found.totals]
        title = f"all {agents} agents on one model (task types that every model played)" if agents > len(tasks) else "one task of each type"
        print_table(title, ("model", "quality", "cost", "s, one after the other"), totals, figures=(1, 2, 3))
        print_line()
    print_line(f"run {found.run.id} ({found.run.status}): {money(found.spent_usd)} spent; rows: {found.query}")


def _row(cell: "CellResult", extra: list[str]) -> tuple[str, ...]:
    quality = cell.quality
    told = "–" if quality is None else f"{quality.mean:.3f} [{quality.low:.3f}, {quality.high:.3f}]"
    count = f"{cell.answered:,}{f' (+{cell.failed} failed)' if cell.failed else ''}{f' (+{cell.unknown} unknown)' if cell.unknown else ''}"
    return (
        cell.model,
        told,
        _signed(cell.quality_against_baseline),
        *(number(cell.metrics[name].mean if name in cell.metrics else None) for name in (*_COMPARED, *extra)),
        number(cell.tokens_per_s, 0),
        number(cell.latency_s.mean if cell.latency_s else None, 2),
        UNKNOWN if cell.cost_usd is None else money(cell.cost_usd.mean * 1_000),
        count,
    )


def _signed(measure: "Measure | None") -> str:
    return "–" if measure is None else f"{measure.mean:+.3f} [{measure.low:+.3f}, {measure.high:+.3f}]"
