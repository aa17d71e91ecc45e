"""The database's revision: where it stands, and how to bring it up to this release. Alembic is loaded only to migrate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from router.errors import SchemaTooNew, StorageUnavailable
from router.storage.engine import answering, is_server, lock_migrations, open_migrator, open_reader, parse

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every revision that this release knows, oldest first."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands, and where this release wants it. ``current`` is None before the first migration."""

    current: str | None
    head: str = REVISIONS[-1]

    @property
    def ready(self) -> bool:
        """Whether this release can use the database as it is."""
        return self.current == self.head


def check(url: str) -> SchemaState:
    """Read the database's revision; changes and creates nothing.

    Raises ``SchemaTooNew`` for a database migrated by a newer release, ``StorageUnavailable``, ``ConfigurationInvalid``.
    """
    file = None if is_server(url) else parse(url).database
    if file and not file.startswith("file:") and not Path(file).exists():
        return SchemaState(None)
    engine = open_reader(url)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def revision_of(engine: Engine) -> SchemaState:
    """The same on an open engine."""
    with answering(), engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return SchemaState(None)
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if current is not None and current not in REVISIONS:
        raise SchemaTooNew(
            f"the database is at revision {current}; this release knows up to {REVISIONS[-1]}",
            remedy="run the newer pointsman that migrated it, or restore the backup taken before",
        )
    return SchemaState(current)


def require(url: str) -> None:
    """Go on only where there is a database that this release can read; creates nothing.

    Raises ``StorageUnavailable`` otherwise, and as ``check``.
    """
    if not check(url).ready:
        remedy = "name the service's database (--database-url); 'pointsman db upgrade' brings an older one up to date"
        raise StorageUnavailable("the database does not exist or is not of this release", field="database_url", remedy=remedy)


def upgrade(url: str) -> SchemaState:
    """Bring the database to this release's revision in one transaction; nothing happens where it is there already.

    Raises ``SchemaTooNew``, ``StorageUnavailable``, ``ConfigurationInvalid``.
    """
    revision = check(url)
    if revision.ready:
        return revision
    from alembic import command  # here: importing it costs more than everything else in this package

    engine = open_migrator(url)
    try:
        with answering(), engine.begin() as connection:
            lock_migrations(connection)  # of processes that start together one migrates, and the others find it done
            command.upgrade(config(connection), "head")
        return revision_of(engine)
    finally:
        engine.dispose()


def config(connection: Connection) -> "Config":
    """Alembic's configuration for an open connection."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(migrations()))
    made.attributes["connection"] = connection
    return made


def migrations() -> Path:
    """The folder with the migrations: beside this module in an installed package, at the top in the source tree."""
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"
