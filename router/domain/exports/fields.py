"""Reads the fields of exported rows, whether they were written as JSON or as CSV."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from router.domain.exports.calls import TASK_TYPE, Asked, LeftOut, Row

_MOST_TOKENS = 100_000_000
_LATEST = 1e11
"""Unix time; the calendar goes further."""


def first(row: Row, *names: str) -> Any:
    """The first of these fields that holds something."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def text(row: Row, *names: str) -> str:
    """The first of these fields that holds something, as text; empty where none does."""
    found = first(row, *names)
    return "" if found is None else str(found).strip()


def needed(row: Row, name: str, *others: str) -> str:
    """The same of a field that must hold something. Raises ``LeftOut``."""
    found = text(row, name, *others)
    if not found:
        raise LeftOut(f"{name} is empty", f"export the field {name} too")
    return found


def number(value: object, name: str) -> float | None:
    """A number of at least 0; None where there is none. Raises ``LeftOut``."""
    if value is None or value == "":
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # what is no number says so
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise LeftOut(f"{name} is no number of at least 0", "correct the rows, or leave the field empty")
    return found


def tokens(value: object, name: str) -> int | None:
    """A number of tokens; None where there is none. Raises ``LeftOut``."""
    found = number(value, name)
    if found is not None and (found > _MOST_TOKENS or found != int(found)):
        raise LeftOut(f"{name} is no number of tokens", "correct the rows, or leave the field empty")
    return None if found is None else int(found)


def positive(value: float | None) -> float | None:
    """Without zero, which is what exports hold where nothing is known."""
    return value or None


def moment(value: object, name: str) -> float | None:
    """A Unix time from ISO 8601 (UTC where no zone is named) or a number of seconds; None where there is none. Raises ``LeftOut``."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float):
            seconds = float(value)
        else:
            found = datetime.fromisoformat(str(value).strip())
            seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < _LATEST:
        raise LeftOut(f"{name} is no time", "write it as ISO 8601, e.g. 2026-11-02T08:30:00Z")
    return seconds


def between(start: float | None, end: float | None) -> float | None:
    """Seconds; None where either is not known or they do not follow each other."""
    return None if start is None or end is None or end <= start else end - start


def mapping(value: object) -> dict[str, Any]:
    """An object, or text that holds one; empty for anything else."""
    found = _parsed(value)
    return found if isinstance(found, dict) else {}


def listing(value: object) -> list[Any]:
    """An array, or text that holds one; empty for anything else."""
    found = _parsed(value)
    return found if isinstance(found, list) else []


def task_type(row: Row, asked: Asked, metadata: Mapping[str, Any], labels: Iterable[object] = ()) -> str | None:
    """The task type that a label ``key:value``, the metadata or a column names, else the default; None where there is neither.

    Raises ``LeftOut`` for what cannot be a name.
    """
    key = asked.key
    found = None if key is None else _labelled(labels, key) or metadata.get(key) or row.get(key)
    if found is None or found == "":
        return asked.task_type
    if not isinstance(found, str) or not TASK_TYPE.fullmatch(found):
        raise LeftOut(
            f"{key} is no name of a task type", "use a key whose values are words of letters, digits, . _ : / @ + and -, at most 128"
        )
    return found


def _labelled(labels: Iterable[object], key: str) -> str | None:
    return next((label[len(key) + 1 :] for label in labels if isinstance(label, str) and label.startswith(f"{key}:")), None)


def _parsed(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value
