"""Which records the fold leaves out, in rows."""

from dataclasses import asdict

from sqlalchemy import Connection, delete, func, insert, select

from router.domain.set_aside import Omitted, SetAside
from router.storage.tables import set_aside, snapshots

_ALL = select(set_aside).order_by(set_aside.c.seq)
_MOST_ERROR = 64


def read(connection: Connection) -> list[SetAside]:
    """All, in the order of the log."""
    return [SetAside(row.seq, row.decision_seq, row.kind, row.error, row.at) for row in connection.execute(_ALL)]


def omitted(connection: Connection) -> Omitted:
    """What the fold leaves out."""
    return Omitted(read(connection))


def add(connection: Connection, record: SetAside) -> None:
    """Once, whoever finds it first."""
    if connection.execute(select(set_aside.c.seq).where(set_aside.c.seq == record.seq)).first() is None:
        connection.execute(insert(set_aside), {**asdict(record), "error": record.error[:_MOST_ERROR]})


def clear(connection: Connection) -> int:
    """Leave nothing out any more, and drop the snapshots that were made without it; how many records there were."""
    first = connection.execute(select(func.min(set_aside.c.seq))).scalar()
    if first is None:
        return 0
    connection.execute(delete(snapshots).where(snapshots.c.seq >= first))
    return int(connection.execute(delete(set_aside)).rowcount)
