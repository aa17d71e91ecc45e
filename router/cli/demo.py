"""``pointsman demo``: watch it learn."""

from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    table: Annotated[Path | None, typer.Option(help="Recorded outcomes (parquet or csv) instead of the scripted providers.")] = None,
    db: Annotated[Path | None, typer.Option(help="SQLite file to use and keep; a new temporary one if left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks and the world.")] = 0,
    requests: Annotated[int | None, typer.Option(min=1, help="Tasks to route; the whole table, or about a minute's worth.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service and its dashboard up until Ctrl-C.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON; progress goes to standard error.")] = False,
) -> None:
    """Route a minute's worth of tasks over HTTP and watch the service learn. No keys, no network, no configuration.

    The real service runs on a free loopback port over a SQLite file; scripted providers answer in virtual time; callers report late and in
    part. Half-way one model silently gets worse and another cheaper.
    """
    from rich.console import Console

    from router.cli.ending import print_report
    from router.cli.output import print_json
    from router.demo.display import LiveScreen, PlainScreen
    from router.demo.run import Options, run

    console = Console(stderr=as_json)
    screen = PlainScreen(console) if plain or not console.is_terminal else LiveScreen(console)

    def finished(report: dict[str, Any]) -> None:
        print_json(report) if as_json else print_report(report)

    run(Options(table, db, seed, requests, keep), screen, finished)
