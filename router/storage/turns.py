"""How a group takes its turn at the log: what differs between a database file and a database server."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import BindParameter, Connection, Dialect, Table, bindparam, func, insert, select, union_all

from router.domain.events import Group
from router.storage import codec
from router.storage.cost_rows import cost_row
from router.storage.ledger import Additions
from router.storage.regime_rows import regime_row
from router.storage.tables import LOG, attempts, cost_changes, decisions, feedback, outcomes, regimes

_after: BindParameter[int] = bindparam("after")
LAST_SEQ = select(*[select(func.max(table.c.seq)).scalar_subquery() for table in LOG])
_heads = union_all(*[select(func.min(table.c.seq).label("seq")).where(table.c.seq > _after) for table in LOG]).subquery()
NEXT_SEQ = select(func.min(_heads.c.seq))

Rows = list[dict[str, Any]]


class Turns(Protocol):
    """``begin``, add rows, ``end``: in one transaction, and no two transactions at the same time."""

    def begin(self, connection: Connection, room: int) -> int:
        """Have the log to oneself until the transaction ends; return its last position. At most ``room`` records will be added."""
        ...

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Add rows to a table of the log."""
        ...

    def end(self, connection: Connection, group: Group) -> None:
        """Say what was added."""
        ...

    def tell_catalogue(self, connection: Connection) -> None:
        """Say that the catalogue changes with this transaction."""
        ...

    def claim(self, connection: Connection, what: str) -> None:
        """Be the only one who writes this until the transaction ends."""
        ...

    def drop_parts(self, connection: Connection, upto: int) -> None:
        """Give back the room of what was removed up to a position."""
        ...

    def last_seq(self, connection: Connection) -> int:
        """The last committed position, 0 where the log is empty."""
        ...

    def next_seq(self, connection: Connection, after: int) -> int | None:
        """The first position after ``after``, or one before it."""
        ...


class FileTurns:
    """SQLite: every transaction of the writer takes the file's write lock first."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._inserts: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {}

    def begin(self, connection: Connection, room: int) -> int:  # noqa: ARG002 - a file has no partitions to make
        return self.last_seq(connection)

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        statement, pick = self._compiled(table)
        connection.exec_driver_sql(statement, [pick(row) for row in rows])

    def end(self, connection: Connection, group: Group) -> None:
        """The rows themselves say where the log ends."""

    def tell_catalogue(self, connection: Connection) -> None:
        """Nobody listens at a file."""

    def claim(self, connection: Connection, what: str) -> None:
        """The transaction has the file's write lock."""

    def drop_parts(self, connection: Connection, upto: int) -> None:
        """A file fills the room again."""

    def last_seq(self, connection: Connection) -> int:
        return max(seq or 0 for seq in connection.execute(LAST_SEQ).one())

    def next_seq(self, connection: Connection, after: int) -> int | None:
        return connection.execute(NEXT_SEQ, {"after": after}).scalar()

    def _compiled(self, table: Table) -> tuple[str, Callable[[dict[str, Any]], Any]]:
        # once: working every row's parameters out anew costs SQLAlchemy as much as SQLite's insert
        if table.name not in self._inserts:
            compiled = insert(table).compile(dialect=self._dialect)
            if not compiled.positiontup:
                raise AssertionError("SQLite's parameters have positions")
            self._inserts[table.name] = str(compiled), itemgetter(*compiled.positiontup)
        return self._inserts[table.name]


def turns(dialect: Dialect) -> Turns:
    """Those of a database."""
    if dialect.name == "postgresql":
        from router.storage.postgres import ServerTurns  # here: its driver comes with an extra

        return ServerTurns()
    return FileTurns(dialect)


def add(turns: Turns, connection: Connection, added: Additions) -> None:
    """Write what a group adds."""
    for table, rows in (
        (decisions, [codec.decision_row(seq, decision) for seq, decision in added.decisions]),
        (attempts, [codec.attempt_row(seq, known.seq, attempt) for seq, known, attempt in added.attempts]),
        (outcomes, [codec.outcome_row(seq, known.seq, outcome) for seq, known, outcome in added.outcomes]),
        (cost_changes, [cost_row(revision) for _, revision in added.costs]),
        (feedback, [codec.revision_row(revision) for _, revision in added.feedback]),
        (regimes, [regime_row(seq, regime) for seq, regime in added.regimes]),
    ):
        if rows:
            turns.insert(connection, table, rows)
