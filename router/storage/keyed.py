"""Queries for the rows of some keys: one statement however many keys, on PostgreSQL prepared once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, BindParameter, Column, Connection, Select, any_, bindparam

KEYS_PER_QUERY = 10_000
"""Databases bound the parameters of one statement: SQLite to 32,766."""

_keys: BindParameter[Any] = bindparam("keys", expanding=True)


class Keyed:
    """``query`` for the rows whose ``column`` is among the keys."""

    def __init__(self, query: Select[Any], column: Column[Any]) -> None:
        listed: BindParameter[Any] = bindparam("keys", type_=ARRAY(column.type))
        self._statements = {"sqlite": query.where(column.in_(_keys)), "postgresql": query.where(column == any_(listed))}

    def on(self, connection: Connection) -> Select[Any]:
        """The statement for this database."""
        return self._statements[connection.dialect.name]


def matching(connection: Connection, query: Keyed, keys: Sequence[Any]) -> Iterator[Any]:
    """The rows of the keys."""
    statement = query.on(connection)
    remaining = iter(keys)
    while part := list(islice(remaining, KEYS_PER_QUERY)):
        yield from connection.execute(statement, {"keys": part})
