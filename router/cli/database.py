"""``pointsman db``: the database's schema."""

from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import FAILED, print_error, print_json, print_line, progress, without_login
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.set_aside import SetAside

app = typer.Typer(help="Create, upgrade and check the database.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def upgrade(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Create the database or bring it to this release's schema; safe to repeat."""
    url = _url(database_url)
    from router.storage import schema

    before = schema.check(url)
    after = schema.upgrade(url)
    if as_json:
        print_json({"database": without_login(url), "before": before.current, "after": after.current, "head": after.head})
    elif before.ready:
        print_line(f"{without_login(url)} is at revision {after.current} already")
    else:
        print_line(f"{without_login(url)}: revision {before.current or 'none'} → {after.current}")


@app.command()
def check(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Say whether this release can use the database; changes nothing. Exits with 2 where it cannot."""
    url = _url(database_url)
    from router.storage import schema

    state = schema.check(url)
    rows, aside = _held(url) if state.ready else (None, [])
    if as_json:
        told = {"database": without_login(url), "current": state.current, "head": state.head, "ready": state.ready}
        print_json({**told, "rows": rows, "set_aside": aside})
    elif rows is not None:
        held = ", ".join(f"{count:,} {kind}" for kind, count in rows.items())
        print_line(f"{without_login(url)} is ready at revision {state.current}: {held}")
    for record in [] if as_json else aside:
        print_line(
            f"set aside: the {record.kind} at log position {record.seq:,}, about the decision at {record.decision_seq:,},"
            f" could not be learned ({record.error}); 'pointsman db retry' after an upgrade tries again"
        )
    if not state.ready:
        found = f"is at revision {state.current}" if state.current else "does not exist or is empty"
        print_error(f"the database {found}; this release needs {state.head}", field="database_url", remedy="run 'pointsman db upgrade'")
        raise typer.Exit(FAILED)


@app.command()
def retry(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Have what was set aside learned again, by a release that can: services fold the log anew from before it when they start next.

    Where retention has removed that part of the log, what was learned from it since is lost.
    """
    url = _url(database_url)
    from router.storage import schema
    from router.storage.sql import SqlStore

    schema.require(url)
    store = SqlStore(url)
    try:
        many = store.clear_set_aside()
    finally:
        store.close()
    if as_json:
        print_json({"database": without_login(url), "records": many})
    elif many:
        print_line(f"{many:,} records will be tried again: restart the services on {without_login(url)}")
    else:
        print_line("nothing is set aside")


@app.command()
def copy(
    source: Annotated[str, typer.Option("--from", help="The database to copy; nobody may write to it meanwhile.")],
    target: Annotated[str, typer.Option("--to", help="An empty one, of either kind: sqlite:///FILE or postgresql://...")],
    as_json: Json = False,
) -> None:
    """Copy a whole database into an empty one, SQLite to PostgreSQL or back, and compare the two; all of it or nothing."""
    from router.storage import copying

    with progress("copying") as told:
        rows = copying.copy(source, target, told)
    if as_json:
        print_json({"from": without_login(source), "to": without_login(target), "rows": rows})
    else:
        held = ", ".join(f"{count:,} {kind}" for kind, count in rows.items() if count)
        print_line(f"{without_login(target)} holds what {without_login(source)} holds: {held or 'nothing yet'}")


def _url(given: str | None) -> str:
    from router import config

    settings = config.load(**({} if given is None else {"database_url": given}))
    settings.require_disk("has no schema")
    return settings.database_url


def _held(url: str) -> tuple[dict[str, int], "list[SetAside]"]:
    from router.storage.sql import SqlStore

    store = SqlStore(url)
    try:
        return store.counts(), store.all_set_aside()
    finally:
        store.close()
