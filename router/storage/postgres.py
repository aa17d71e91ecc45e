"""What is particular to PostgreSQL: connections that never wait for ever, the order of commits, partitions, bulk inserts.

``log_head`` has one row. Whoever commits a group locks it first, reads the last position from it and counts on, so that groups commit
one after another over all processes and nobody sees a gap that is filled later. A process that dies loses its lock with its connection.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router.domain.events import Group
from router.storage.tables import PARTITIONED

WRITE_WITHIN_S = 5.0
READ_WITHIN_S = 15.0
"""What a statement may take; a server that is silent for longer counts as gone."""
CONNECT_WITHIN_S = 2
POOL_TIMEOUT_S = 5.0
CHANNEL = "pointsman_log"
CATALOGUE = "catalogue"
"""What is said there of a changed catalogue; of a group its first and last position, and whether it holds evidence."""
LEADER_LOCK = 7_076_001
PARTITION = 5_000_000
"""Log positions in one partition, at least: 1.7 million decisions with outcome and score, 5 GB."""
_SHARE = 20
"""A new partition holds a twentieth of the log so far where that is more, so that there are never very many."""

_LOCK = text("SELECT seq, partitioned_to FROM log_head FOR UPDATE")
_ADVANCE = text("WITH moved AS (UPDATE log_head SET seq = :seq RETURNING seq) SELECT pg_notify(:channel, :news) FROM moved")
_TELL = text("SELECT pg_notify(:channel, :news)")
_CLAIM = text("SELECT pg_advisory_xact_lock(hashtext(:what))")
_HEAD = text("SELECT seq FROM log_head")
_NEXT = text(  # what retention removes are decisions and what belongs to them
    "SELECT seq, least(oldest, (SELECT min(seq) FROM arrivals WHERE seq > :after), (SELECT min(seq) FROM regimes WHERE seq > :after))"
    " AS first FROM log_head"
)
_PARTITIONED = text("UPDATE log_head SET partitioned_to = :end")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up where the server says nothing for ``within_s``: a dead network path reports no error by itself."""

    within_s = WRITE_WITHIN_S

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run the generator to its end, in bounded time."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.within_s)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # it still owes an answer: nothing more can be asked of it
                self.close()
            raise


class _PatientConnection(BoundedConnection):
    within_s = READ_WITHIN_S


def open_writer(url: URL, durability: str) -> Engine:
    """The one connection for all writes."""
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=POOL_TIMEOUT_S, hide_parameters=True, use_native_hstore=False
    )
    committed = {"full": "on", "normal": "off"}[durability]
    _prepare(
        engine,
        BoundedConnection,
        f"SET synchronous_commit = {committed}",
        "SET idle_in_transaction_session_timeout = '10s'",  # a process that froze must not hold the log's lock
        f"SET statement_timeout = '{WRITE_WITHIN_S:g}s'",
    )
    return engine


def open_reader(url: URL, connections: int) -> Engine:
    """Connections that cannot write."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=max(1, connections),
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,  # a read is asked again where the server was restarted since
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        use_native_hstore=False,
    )
    _prepare(engine, _PatientConnection, "SET default_transaction_read_only = on", f"SET statement_timeout = '{READ_WITHIN_S:g}s'")
    return engine


def open_migrator(url: URL) -> Engine:
    """A connection without deadlines, for work that takes as long as it takes."""
    return create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True, use_native_hstore=False)


def listen(url: URL) -> BoundedConnection:
    """A connection that hears of every commit. Raises ``psycopg.Error``."""
    dialect = url.get_dialect()()
    arguments, options = dialect.create_connect_args(url)
    connection = BoundedConnection.connect(*arguments, **_options(options), autocommit=True)
    try:
        connection.execute(f"LISTEN {CHANNEL}")
    except BaseException:
        connection.close()
        raise
    return connection


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "application_name": "pointsman",
        "connect_timeout": CONNECT_WITHIN_S,
        "tcp_user_timeout": int(WRITE_WITHIN_S * 1000),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        **given,
    }


def _prepare(engine: Engine, kind: type[BoundedConnection], *statements: str) -> None:
    @event.listens_for(engine, "do_connect")
    def do_connect(_dialect: Dialect, _record: ConnectionPoolEntry, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        return kind.connect(*arguments, **_options(options))

    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("; ".join(statements))
        cursor.close()
        connection.commit()


class ServerTurns:
    """``router.storage.turns.Turns``: whoever holds the one row of ``log_head`` has the log to himself."""

    def begin(self, connection: Connection, room: int) -> int:
        seq, partitioned_to = connection.execute(_LOCK).one()
        while partitioned_to <= seq + room + 1:
            partitioned_to = add_partition(connection, partitioned_to)
        return int(seq)

    def insert(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        # COPY takes a third of the client's time that a prepared INSERT takes
        columns = tuple(table.columns.keys())
        driver: Any = connection.connection.driver_connection
        statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row([row[name] for name in columns])
        except psycopg.Error as exc:  # as SQLAlchemy tells faults of the statements that it sends itself
            lost = bool(driver.closed or driver.broken)
            if lost:
                connection.invalidate(exc)
            told = DBAPIError.instance(
                statement, None, exc, psycopg.Error, hide_parameters=True, connection_invalidated=lost, dialect=connection.dialect
            )
            raise told from exc

    def end(self, connection: Connection, group: Group) -> None:
        connection.execute(_ADVANCE, {"seq": group.last, "channel": CHANNEL, "news": f"{group.first} {group.last} {int(group.evidence)}"})

    def tell_catalogue(self, connection: Connection) -> None:
        connection.execute(_TELL, {"channel": CHANNEL, "news": CATALOGUE})

    def claim(self, connection: Connection, what: str) -> None:
        connection.execute(_CLAIM, {"what": f"pointsman {what}"})

    def drop_parts(self, connection: Connection, upto: int) -> None:
        from router.storage.pruning import drop_partitions  # here: it needs the tables' queries, which only a service that prunes does

        drop_partitions(connection, upto)

    def last_seq(self, connection: Connection) -> int:
        return int(connection.execute(_HEAD).one().seq)

    def next_seq(self, connection: Connection, after: int) -> int | None:
        head = connection.execute(_NEXT, {"after": after}).one()
        first = max(after + 1, head.first)
        return first if first <= head.seq else None


def add_partition(connection: Connection, start: int) -> int:
    """Add the partition that begins at a position to each log table, and return where it ends."""
    end = start - start % PARTITION + max(PARTITION, start // _SHARE)
    for table in PARTITIONED:
        name = f"{table.name}_{start}"
        # made beside and then attached: that locks out neither readers nor writers of the others
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL)")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})")
    connection.execute(_PARTITIONED, {"end": end})
    return end
