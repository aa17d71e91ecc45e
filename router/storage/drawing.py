"""What services draw from one row, each its part: whoever draws has the row to himself until his transaction ends."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite


def take(connection: Connection, drawn: Column[int], own: Mapping[str, Any], *, at_least: int, wanted: int, limit: int) -> int:
    """Take ``wanted``, or what is left of ``limit`` where that is ``at_least``, or nothing.

    ``drawn`` is the column of what was drawn, ``own`` the key of the row, which is made where it is missing.
    """
    table, this = drawn.table, [drawn.table.c[name] == value for name, value in own.items()]
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), {**own, drawn.name: 0})  # who comes second waits for the first to commit
    before = connection.execute(select(drawn).where(*this).with_for_update()).scalar_one()
    taken = min(wanted, limit - before)
    if taken <= 0 or taken < at_least:
        return 0
    connection.execute(update(table).where(*this).values({drawn: before + taken}))
    return taken
