"""Removes what is older than it is kept: a few decisions at a time, with all that belongs to them, oldest first.

What goes is in the newest snapshot already and is counted, so that nothing that was learned or is reported goes with it. The end of the
log always stays: positions are never given twice.
"""

from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, exists, func, select, text

from router.storage import tally_rows
from router.storage.keyed import Keyed, matching
from router.storage.tables import LOG, PARTITIONED, attempts, cost_changes, decisions, feedback, outcomes, snapshots

_after: BindParameter[int] = bindparam("after")
_upto: BindParameter[int] = bindparam("upto")
_settled: BindParameter[int] = bindparam("settled")
_many: BindParameter[int] = bindparam("many")
_BELONGING = (attempts, outcomes, cost_changes, feedback)
_lasting = [exists().where(table.c.decision_seq == decisions.c.seq, table.c.seq > _settled) for table in _BELONGING]

_OLDEST = (
    select(decisions.c.seq, *[late.label(f"late_{n}") for n, late in enumerate(_lasting)])
    .where(decisions.c.seq > _after, decisions.c.seq <= _upto)
    .order_by(decisions.c.seq)
    .limit(_many)
)


def horizon(connection: Connection, before: float) -> tuple[int, int]:
    """The last position whose decision may go, and the last one that is learned and counted; (0, 0) where nothing may go."""
    folded = connection.execute(select(func.max(snapshots.c.seq))).scalar() or 0
    head = max(connection.execute(select(func.max(table.c.seq))).scalar() or 0 for table in LOG)
    settled = min(folded, tally_rows.counted_seq(connection), head - 1)
    return (min(tally_rows.decided_by(connection, before), settled), settled) if settled > 0 else (0, 0)


def remove(connection: Connection, after: int, upto: int, settled: int, many: int) -> tuple[int, int | None]:
    """Remove up to ``many`` decisions after a position; how many went, and where to go on, None at the end."""
    rows = connection.execute(_OLDEST, {"after": after, "upto": upto, "settled": settled, "many": many}).all()
    going = [row.seq for row in rows if not any(row[1:])]  # one that something happened to since the snapshot waits for the next
    for table in _BELONGING:
        _delete(connection, table, table.c.decision_seq, going)
    _delete(connection, decisions, decisions.c.seq, going)
    return len(going), rows[-1].seq if len(rows) == many else None


def _delete(connection: Connection, table: Any, column: Any, keys: list[int]) -> None:
    found = [row.seq for row in matching(connection, Keyed(select(table.c.seq), column), keys)]
    if found:
        connection.execute(delete(table).where(table.c.seq.in_(found)))


def drop_partitions(connection: Connection, upto: int) -> int:
    """Drop the partitions that end by a position and are empty in every table of the log; how many went."""
    dropped = 0
    for (start,) in connection.execute(_STARTS, {"upto": upto}).all():
        names = [f"{table.name}_{start}" for table in PARTITIONED]
        if any(connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {name})").scalar() for name in names):  # noqa: S608 - our names
            break
        for name in names:
            connection.exec_driver_sql(f"DROP TABLE {name}")
        dropped += 1
    oldest = connection.execute(select(func.min(decisions.c.seq))).scalar()
    if oldest is not None:
        connection.execute(text("UPDATE log_head SET oldest = :oldest"), {"oldest": oldest})
    return dropped


_STARTS = text(
    "SELECT start FROM (SELECT substring(child.relname FROM '[0-9]+$')::bigint AS start,"
    " substring(pg_get_expr(child.relpartbound, child.oid) FROM $$TO \\('?([0-9]+)$$)::bigint AS upto"
    " FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid WHERE inhparent = 'decisions'::regclass) p"
    " WHERE upto <= :upto ORDER BY start"
)
