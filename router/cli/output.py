"""What commands print: tables for people, JSON for programs, one line per error, and bars on standard error."""

import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

UNKNOWN = "unknown"
FAILED = 2
"""Exit status of every refusal."""

_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")


def print_json(value: Any) -> None:
    """A value of dataclasses, dicts and lists; NaN becomes null."""
    import msgspec  # here: only --json needs it

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_line(text: str = "") -> None:
    """A line for people, on standard output; nothing in it is read as markup."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, figures: Collection[int] = ()) -> None:
    """A table; the columns at ``figures`` are numbers, the others words."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for position, name in enumerate(columns):
        table.add_column(name, justify="right" if position in figures else "left", no_wrap=position in figures, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table, highlight=False, markup=False)


def print_error(message: str, *, field: str | None = None, remedy: str | None = None) -> None:
    """One line on standard error: what is wrong, where, and what to do."""
    sys.stderr.write(f"pointsman: {told(message, field=field, remedy=remedy)}\n")


def told(message: str, *, field: str | None = None, remedy: str | None = None) -> str:
    """An error as one line."""
    place = f" [{field}]" if field else ""
    return " ".join(f"{message}{place}{f': {remedy}' if remedy else ''}".split())


def print_warning(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"pointsman: warning: {message}\n")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar to be told ``(done, total)``; None where nobody would see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def money(value: float | None) -> str:
    """USD with enough digits for a single call, or unknown."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.3g}" if abs(value) >= 1e-4 else f"${value:.1e}"


def price(value: float | None) -> str:
    """USD per million tokens, or unknown."""
    return UNKNOWN if value is None else f"${value:g}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{value:.1%}"


def without_login(url: str) -> str:
    """A database URL without the user's name and password."""
    return _LOGIN.sub("…@", url)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)
