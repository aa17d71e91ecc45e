"""What operators set while services run, as rows."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, insert, select

from router.domain.overrides import Override
from router.storage.tables import overrides

_ALL = select(overrides).order_by(overrides.c.id)


def add(connection: Connection, added: Sequence[Override]) -> None:
    """In their order; the database numbers them."""
    for one in added:
        connection.execute(
            insert(overrides),
            {
                "kind": one.kind,
                "name": one.name,
                "value": None if one.value is None else msgspec.json.encode(one.value).decode(),
                "at": one.at,
                "key_id": one.key_id,
            },
        )


def read(connection: Connection, after: int) -> list[Override]:
    """Those numbered above ``after``."""
    return [
        Override(row.kind, row.name, None if row.value is None else msgspec.json.decode(row.value), row.at, row.key_id, row.id)
        for row in connection.execute(_ALL.where(overrides.c.id > after))
    ]
