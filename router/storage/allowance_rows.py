"""Allowances as rows: what was drawn of each in a period, in billionths."""

from sqlalchemy import Connection, select, update

from router.storage.drawing import take
from router.storage.tables import allowances


def draw(connection: Connection, name: str, start: int, wanted: int, limit: int) -> int:
    """Take ``wanted``, or what is left of ``limit``."""
    return take(connection, allowances.c.drawn_nano, {"name": name, "start": start}, at_least=0, wanted=wanted, limit=limit)


def change(connection: Connection, name: str, start: int, nano: int) -> None:
    """Add to what was drawn, or (below zero) put back what was not used."""
    own = (allowances.c.name == name, allowances.c.start == start)
    connection.execute(update(allowances).where(*own).values(drawn_nano=allowances.c.drawn_nano + nano))


def read(connection: Connection, start: int) -> dict[str, int]:
    """What was drawn in the period that begins at ``start``, by name."""
    found = connection.execute(select(allowances).where(allowances.c.start == start))
    return {row.name: row.drawn_nano for row in found}
