"""``pointsman rules``: the rules that emerged from the evidence, written down, pinned, compared."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import print_json, print_line, print_table
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.config import Settings
    from router.domain.guide import Guide

app = typer.Typer(help="Write down, pin and compare the rules that the evidence supports.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to this file instead of printing.")]


@app.command()
def export(
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this model; else with the settings' baseline, else with the dearest measured.")
    ] = None,
    out: Out = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Write the rules as YAML: primary, quality, speed and cost beside a baseline, sample size, alternatives, what would flip each."""
    from router.domain.rulebook import rulebook
    from router.errors import ModelNotFound

    settings = _settings(database_url)
    if baseline is not None and baseline not in _catalog(settings):
        raise ModelNotFound("no model has that id", field="baseline", remedy="'pointsman models list' lists the ids")
    book = rulebook(_guide(settings), baseline or settings.baseline_model)
    if as_json and out is None:
        print_json(book)
        return
    _put(book, f"Rules that the evidence supports, up to log position {book['seq']}. Made by 'pointsman rules export'.", out)


@app.command()
def diff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Exported or pinned rules.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Say what is learned differently now than when the file was written."""
    from router.domain.rulebook import compare, rulebook
    from router.storage.rule_files import read_rules

    then = read_rules(file)
    settings = _settings(database_url)
    changes = compare(then, rulebook(_guide(settings), settings.baseline_model))
    if as_json:
        print_json({"changes": changes})
    elif not changes:
        print_line("nothing has changed: what is learned supports the same rules")
    else:
        rows = [(change.task_type, change.kind, change.was, change.now) for change in changes]
        print_table(f"{len(rows)} changes since {file.name}", ("task type", "what", "then", "now"), rows)


@app.command()
def pin(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules made by 'pointsman rules export', perhaps edited.")],
    task_type: Annotated[list[str] | None, typer.Option("--task-type", help="Pin only this one; may be repeated.")] = None,
    out: Out = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make a file of rules to be followed instead of the learner, hashed over their content.

    A service started with POINTSMAN_RULES_FILE naming it calls the first eligible model of a task type's rule; its decisions say policy
    "pinned" and name the hash. It goes on learning, and 'pointsman rules diff' shows what it would do now.
    """
    from router.domain.rulebook import pinned
    from router.storage.rule_files import read_rules

    book = pinned(read_rules(file), task_type or [], _catalog(_settings(database_url)))
    if as_json and out is None:
        print_json(book)
        return
    _put(book, "Pinned by 'pointsman rules pin': in force with POINTSMAN_RULES_FILE. A change by hand needs a new pin.", out)
    if out is not None:
        print_line(f"pinned {', '.join(book['rules'])} as {book['sha256'][:12]}; in force with POINTSMAN_RULES_FILE={out}")


def _settings(database_url: str | None) -> "Settings":
    from router import config

    return config.load(**({} if database_url is None else {"database_url": database_url}))


def _catalog(settings: "Settings") -> Any:
    from router.cli.models import read_catalog

    return read_catalog(settings.database_url)


def _guide(settings: "Settings") -> "Guide":
    async def made() -> "Guide":
        from router import errands

        async with errands.guide_service(settings) as service:
            return await service.guide()

    return asyncio.run(made())


def _put(book: dict[str, Any], head: str, out: Path | None) -> None:
    """Print or write the file.

    Raises ``ConfigurationInvalid``.
    """
    from router.errors import ConfigurationInvalid
    from router.storage.rule_files import rules_text

    text = rules_text(book, head)
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationInvalid(
            f"the rules cannot be written ({exc.strerror})", field="out", remedy="name a file in a folder that exists"
        ) from exc
