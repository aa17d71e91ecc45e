"""Connections: one that writes, a few short-lived ones that read and never block it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router.errors import ConfigurationInvalid, StorageUnavailable

Durability = Literal["full", "normal"]

BUSY_TIMEOUT_MS = 5_000


def parse(url: str) -> URL:
    """The URL of a database that this release can keep its log in.

    Raises ``ConfigurationInvalid``. The message leaves the URL out: it may hold a password.
    """
    remedy = "use sqlite:///path/to/file.db"
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigurationInvalid("the database URL cannot be read", field="database_url", remedy=remedy) from exc
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationInvalid("this database is not supported", field="database_url", remedy=remedy)
    if parsed.database in (None, "", ":memory:"):
        raise ConfigurationInvalid("an in-memory database keeps nothing", field="database_url", remedy=f"{remedy}, or memory://")
    return parsed


def open_writer(url: str, durability: Durability) -> Engine:
    """The one connection for all writes; its transactions take the write lock first."""
    engine = create_engine(
        parse(url),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,  # an error that is logged must not show what was stored
        connect_args={"check_same_thread": False},
    )
    synchronous = {"full": "FULL", "normal": "NORMAL"}[durability]
    _prepare(
        engine,
        begin="BEGIN IMMEDIATE",  # what the transaction reads stays true until it commits, whoever else has the file open
        pragmas=(
            "page_size=8192",  # of a new file: a decision is about 2 kB, and pages of 4 kB waste a fifth of the disk
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "fullfsync=ON",  # macOS: its plain fsync does not reach the disk
            "foreign_keys=ON",
            "cache_size=-32000",  # kB; ids are random, so their index is touched everywhere
        ),
    )
    return engine


def open_reader(url: str) -> Engine:
    """Connections that cannot write; each transaction sees one consistent state of the log."""
    engine = create_engine(
        parse(url),
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=4,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )
    _prepare(engine, begin="BEGIN", pragmas=("query_only=ON",))
    return engine


def _prepare(engine: Engine, *, begin: str, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # ours is the only BEGIN: the driver's own would come late, and not for DDL
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


@contextmanager
def answering() -> Iterator[None]:
    """Turn a database that does not answer into ``StorageUnavailable``; errors about the data itself pass through."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeout) as exc:
        raise _unavailable() from exc
    except DatabaseError as exc:
        if type(exc) is DatabaseError:  # its subclasses blame the data; itself it means a damaged or foreign file
            raise _unavailable() from exc
        raise


def _unavailable() -> StorageUnavailable:
    return StorageUnavailable(
        "the database does not answer",
        remedy="retry after a moment; if it lasts, check the disk and the file's permissions, and run 'pointsman db check'",
    )
