"""``pointsman import``: calls that a team made through another gateway, from its export."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import FAILED, print_error, print_json, print_line, print_table, progress
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.services.importing import Imported


def import_calls(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY", help="litellm, langfuse or tensorzero.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="CSV, JSON, JSON lines (or one of them as .gz) or parquet, the oldest calls first."),
    ],
    mapped: Annotated[list[str] | None, typer.Option("--map", metavar="OTHER=OURS", help="Our model for one of theirs; repeat it.")] = None,
    task_type: Annotated[str | None, typer.Option(help="Of the calls that do not say theirs.")] = None,
    task_type_from: Annotated[str | None, typer.Option(metavar="KEY", help="Tag, metadata key or column that names the task type.")] = None,
    score: Annotated[str | None, typer.Option(metavar="NAME", help="The score that is quality: a boolean, or from 0 to 1.")] = None,
    scale: Annotated[str | None, typer.Option(metavar="WORST,BEST", help="What other numbers mean, e.g. 1,5.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported and what not, and write nothing.")] = False,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring in calls that were made through another gateway, from files that it exported, so that the router starts from them.

    litellm: the table LiteLLM_SpendLogs as CSV, or the JSON of /spend/logs; --score is a key of the metadata.
    langfuse: observations and scores, from the blob storage, the interface or the API; a score of a trace counts where the trace has one
    generation. tensorzero: ModelInference with ChatInference or JsonInference (--task-type-from function_name), and the metrics.

    Imported calls teach the router and are no traffic of its own: evaluation, lift, budgets and reports leave them out. The same calls
    again add nothing. Texts are not kept.
    """
    from router import config, errands
    from router.domain.exports.calls import Asked
    from router.services.importing import ImportRules

    rules = ImportRules(gateway, Asked(task_type, task_type_from, score), _renamed(mapped or []), None if scale is None else _scale(scale))
    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    if not dry_run:
        settings.require_disk("keeps nothing")

    async def work() -> "Imported":
        async with errands.import_service(settings, announce=not dry_run) as service:
            with progress(f"import {gateway}") as tell:
                return await asyncio.to_thread(service.run, rules, files, dry_run=dry_run, tell=tell)

    made = asyncio.run(work())
    if as_json:
        print_json(made)
    else:
        _show(made)
    if not made.calls:
        print_error("no row of the files can be imported", field="file", remedy="see what was left out, and why")
        raise typer.Exit(FAILED)


def _renamed(mapped: list[str]) -> dict[str, str]:
    from router.errors import TaskInvalid

    found: dict[str, str] = {}
    for pair in mapped:
        theirs, given, ours = pair.rpartition("=")
        if not given or not theirs or not ours:
            raise TaskInvalid("a model is mapped as OTHER=OURS", field="map", remedy="e.g. --map gpt-4o=openai/gpt-4o")
        found[theirs] = ours
    return found


def _scale(scale: str) -> tuple[float, float]:
    from router.errors import TaskInvalid

    try:
        low, high = (float(part) for part in scale.split(","))
    except ValueError as exc:
        raise TaskInvalid("the scale must be two numbers", field="scale", remedy="worst and best, e.g. --scale 1,5") from exc
    return low, high


def _show(made: "Imported") -> None:
    rows: list[Any] = [(p.task_type, p.model, f"{p.calls:,}", f"{p.failed:,}", f"{p.scored:,}") for p in made.parts]
    print_table(f"{made.calls:,} calls in {made.rows:,} rows", ("task type", "model", "calls", "failed", "scored"), rows, figures=(2, 3, 4))
    if made.left_out:
        print_line()
        left = [(reason.reason, f"{reason.rows:,}", reason.first, reason.remedy) for reason in made.left_out]
        print_table("left out", ("why", "rows", "first", "remedy"), left, figures=(1,))
    print_line()
    if made.dry_run:
        print_line("Nothing was written: leave --dry-run off to import them.")
    else:
        print_line(f"{made.added:,} calls and {made.scores_added:,} scores were added; {made.already:,} calls were in the log already.")
        if made.scores_differ:
            print_line(f"{made.scores_differ:,} of those are scored otherwise in the log: it was left as it is.")
    for note in made.notes:
        print_line(f"Note: {note}.")
