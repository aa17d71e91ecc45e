"""A whole database into another, of the same kind or not: every row, compared afterwards, or nothing at all."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, func, select, text

from router.errors import ConfigurationInvalid, StorageUnavailable
from router.storage import schema
from router.storage.engine import answering, open_migrator, parse
from router.storage.tables import LOG, metadata
from router.storage.turns import turns

_BATCH = 2_000
_NUMBERED = ("models", "snapshots", "overrides")
"""Tables whose rows the database numbers by itself."""


def copy(source: str, target: str, told: Callable[[int, int], None] | None = None) -> dict[str, int]:
    """Copy every table into an empty database and return the rows by table; ``told`` hears how many rows of how many are copied.

    Nobody may write to the source meanwhile: what is committed after the beginning is not copied.

    Raises ``ConfigurationInvalid``, ``StorageUnavailable``, ``SchemaTooNew``.
    """
    if parse(source) == parse(target):
        raise ConfigurationInvalid("both are the same database", field="to", remedy="name another database")
    if not schema.check(source).ready:
        raise StorageUnavailable(
            "the database to copy does not exist or is not of this release",
            field="from",
            remedy="check its URL, then 'pointsman db upgrade'",
        )
    schema.upgrade(target)
    reading, writing = open_migrator(source), open_migrator(target)
    try:
        with answering(), reading.connect().execution_options(**_one_state(source)) as there, writing.begin() as here:
            _refuse_used(here)
            head = max(there.execute(select(func.max(table.c.seq))).scalar() or 0 for table in LOG)
            way = turns(here.dialect)
            way.begin(here, head)
            total = sum(there.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables)
            counts: dict[str, int] = {}
            for table in metadata.sorted_tables:
                read, counts[table.name] = hashlib.blake2b(), 0
                for rows in _batches(there, table):
                    way.insert(here, table, rows)
                    _feed(read, table, rows)
                    counts[table.name] += len(rows)
                    if told is not None:
                        told(sum(counts.values()), total)
                written = hashlib.blake2b()
                for rows in _batches(here, table):
                    _feed(written, table, rows)
                if written.digest() != read.digest():
                    raise StorageUnavailable(
                        f"table {table.name} does not read back as it was written", remedy="nothing was kept; report it with both versions"
                    )
            if here.dialect.name == "postgresql":
                _continue_counting(here, head)
    finally:
        reading.dispose()
        writing.dispose()
    return counts


def _one_state(url: str) -> dict[str, Any]:
    return {"isolation_level": "REPEATABLE READ"} if parse(url).get_backend_name() == "postgresql" else {}


def _refuse_used(connection: Connection) -> None:
    for table in metadata.sorted_tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise ConfigurationInvalid("the database to copy into is not empty", field="to", remedy="name a new one")


def _batches(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    query = select(table).order_by(*table.primary_key.columns).execution_options(stream_results=True)
    with connection.execute(query) as result:
        for rows in result.partitions(_BATCH):
            yield [dict(row._mapping) for row in rows]


def _feed(digest: Any, table: Table, rows: list[dict[str, Any]]) -> None:
    names = list(table.columns.keys())
    for row in rows:
        digest.update(repr([row[name] for name in names]).encode())


def _continue_counting(connection: Connection, head: int) -> None:
    connection.execute(text("UPDATE log_head SET seq = :head"), {"head": head})
    for table in _NUMBERED:
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"))  # noqa: S608
