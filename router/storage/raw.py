"""What a database makes of rows through its driver alone: the limit of whatever writes to it."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.domain.decisions import Decision
from router.storage import codec, schema
from router.storage.engine import Durability, is_server, parse
from router.storage.tables import decisions

Row = tuple[Any, ...]
Commit = Callable[[Sequence[Row]], None]
"""Insert rows, and return when they are durable."""

_COLUMNS = tuple(decisions.columns.keys())
_TABLE = "raw_decisions"


def row_of(seq: int, decision: Decision) -> Row:
    """A decision as a row at a position of the log."""
    record = codec.decision_row(seq, decision)
    return tuple(record[column] for column in _COLUMNS)


@contextmanager
def raw_commits(url: str, durability: Durability) -> Iterator[Commit]:
    """A committer beside the log in a database: into a second file, or a second table, with the same indexes, gone at the end.

    Raises ``StorageUnavailable``, ``ConfigurationInvalid``.
    """
    with (_postgres if is_server(url) else _sqlite)(url, durability) as commit:
        yield commit


@contextmanager
def _sqlite(url: str, durability: Durability) -> Iterator[Commit]:
    file = Path(parse(url).database or "").with_name("raw.db")
    schema.upgrade(f"sqlite:///{file}")
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", f"synchronous={durability.upper()}", "fullfsync=ON", "cache_size=-32000"):
        connection.execute(f"PRAGMA {pragma}")
    statement = f"INSERT INTO {decisions.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - our own names

    def commit(rows: Sequence[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")

    try:
        yield commit
    finally:
        connection.close()
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink()


@contextmanager
def _postgres(url: str, durability: Durability) -> Iterator[Commit]:
    import psycopg  # here: the driver comes with an extra

    connection = psycopg.connect(parse(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        connection.execute(f"SET synchronous_commit = {'on' if durability == 'full' else 'off'}".encode())
        connection.execute(f"CREATE TABLE {_TABLE} (LIKE {decisions.name} INCLUDING ALL)".encode())
        connection.commit()
        copy_in = f"COPY {_TABLE} ({', '.join(_COLUMNS)}) FROM STDIN".encode()

        def commit(rows: Sequence[Row]) -> None:
            with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
                for row in rows:
                    copy.write_row(row)
            connection.commit()

        yield commit
        connection.execute(f"DROP TABLE {_TABLE}".encode())
        connection.commit()
    finally:
        connection.close()
