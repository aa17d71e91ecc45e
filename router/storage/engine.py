"""Connections: one that writes, a few short-lived ones that read and never block it."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Literal, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router.errors import ConfigurationInvalid, StorageUnavailable

Durability = Literal["full", "normal"]

BUSY_TIMEOUT_MS = 5_000
CONNECTIONS = 5
"""To a database server, of one process: one writes, one listens, the others read."""

_POSTGRES = ("postgresql", "postgres")
_REMEDY = "use sqlite:///path/to/file.db or postgresql://user@host/database"


def parse(url: str) -> URL:
    """The URL of a database that this release can keep its log in, with its driver.

    Raises ``ConfigurationInvalid``. The message leaves the URL out: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigurationInvalid("the database URL cannot be read", field="database_url", remedy=_REMEDY) from exc
    if parsed.drivername in (*_POSTGRES, "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationInvalid("this database is not supported", field="database_url", remedy=_REMEDY)
    if parsed.database in (None, "", ":memory:"):
        raise ConfigurationInvalid("an in-memory database keeps nothing", field="database_url", remedy=f"{_REMEDY}, or memory://")
    return parsed


def is_server(url: str) -> bool:
    """Whether the database is a server that several processes share."""
    return parse(url).get_backend_name() == "postgresql"


def open_writer(url: str, durability: Durability) -> Engine:
    """The one connection for all writes; on SQLite its transactions take the write lock first."""
    parsed = parse(url)
    if parsed.get_backend_name() == "postgresql":
        return cast(Engine, _postgres().open_writer(parsed, durability))
    engine = create_engine(
        parsed,
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


def open_reader(url: str, connections: int = CONNECTIONS) -> Engine:
    """Connections that cannot write; each transaction sees one consistent state of the log."""
    parsed = parse(url)
    if parsed.get_backend_name() == "postgresql":
        return cast(Engine, _postgres().open_reader(parsed, connections - 2))
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=4,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )
    _prepare(engine, begin="BEGIN", pragmas=("query_only=ON",))
    return engine


def _postgres() -> ModuleType:
    try:
        from router.storage import postgres  # here: its driver comes with an extra
    except ImportError as exc:
        raise ConfigurationInvalid(
            "the driver for PostgreSQL is not installed", field="database_url", remedy='pip install "pointsman[postgres]"'
        ) from exc
    return postgres


def open_migrator(url: str) -> Engine:
    """A connection for a migration, which takes as long as it takes."""
    if is_server(url):
        return cast(Engine, _postgres().open_migrator(parse(url)))
    return open_writer(url, "full")


def lock_migrations(connection: Connection) -> None:
    """Let nobody else migrate until this transaction ends; on SQLite it has the write lock already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7076002)")


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
    except ProgrammingError as exc:
        if getattr(exc.orig, "sqlstate", None) in _NOT_OURS:
            raise _unavailable() from exc
        raise
    except DatabaseError as exc:
        if type(exc) is DatabaseError:  # its subclasses blame the data; itself it means a damaged or foreign file
            raise _unavailable() from exc
        raise


_NOT_OURS = frozenset({"42P01", "42703", "42501", "3D000", "3F000", "28000", "28P01"})
"""PostgreSQL: a table, column, right, database or login is missing; nothing that a request could bring about."""


def _unavailable() -> StorageUnavailable:
    return StorageUnavailable(
        "the database does not answer",
        remedy="retry after a moment; if it lasts, check the database server, or the disk and the file's permissions,"
        " and run 'pointsman db check'",
        retry_after_s=1.0,
    )
