"""The table of commands, and the one place where an error becomes a line and a status.

Commands import what they run inside their functions, so that ``--help`` answers at once.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from router.cli import battery, bench, budgets, database, keys, models, rules, settings
from router.cli.audit import audit, history
from router.cli.demo import demo
from router.cli.evaluate import evaluate, lift, whatif
from router.cli.grafana import grafana
from router.cli.guide import guide
from router.cli.importing import import_calls
from router.cli.judges import judges
from router.cli.output import FAILED, print_error
from router.cli.plan import plan
from router.cli.replay import replay
from router.cli.serve import serve
from router.errors import RouterError, StorageUnavailable

_UsageError: type[Exception] = typer.BadParameter.__mro__[2]
"""The base of every complaint about arguments; where it lives depends on typer's version."""

app = typer.Typer(
    name="pointsman",
    help="Routes each LLM task to the model that the evidence favours, logs every choice, and keeps learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _entry(version: Annotated[bool, typer.Option("--version", help="Print the release and exit.")] = False) -> None:
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as release

        try:
            print(release("pointsman"))
        except PackageNotFoundError:
            print("0+source")
        raise typer.Exit


app.command("serve")(serve)
app.command("demo")(demo)
app.command("replay")(replay)
app.command("import")(import_calls)
app.command("evaluate")(evaluate)
app.command("lift")(lift)
app.command("audit")(audit)
app.command("history")(history)
app.command("whatif")(whatif)
app.command("plan")(plan)
app.command("judges")(judges)
app.command("guide")(guide)
app.command("grafana")(grafana)
app.add_typer(battery.app, name="battery")
app.add_typer(bench.app, name="bench")
app.add_typer(rules.app, name="rules")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(budgets.app, name="budgets")
app.add_typer(database.app, name="db")
app.add_typer(settings.app, name="config")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status: 0, 2 for every refusal, 130 for an interrupt."""
    try:
        code = app(args=list(arguments), prog_name="pointsman", standalone_mode=False)
        sys.stdout.flush()
    except RouterError as exc:
        why = exc.why if isinstance(exc, StorageUnavailable) else None
        print_error(f"{exc.message} ({why})" if why else exc.message, field=exc.field, remedy=exc.remedy)
        return FAILED
    except _UsageError as exc:
        print_error(_usage(exc), remedy="'pointsman --help' lists the commands, 'pointsman COMMAND --help' their options")
        return FAILED
    except (typer.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _usage(exc: Exception) -> str:
    words = exc.format_message() if hasattr(exc, "format_message") else str(exc)
    return str(words).strip().rstrip(".") or "the command is incomplete"
