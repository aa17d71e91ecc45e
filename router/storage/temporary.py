"""A database of one's own beside the configured one, for a while: on the same disk or server, empty, and gone at the end.

A file in the configured file's folder, or a database of the same server. Never a schema within the configured database: notifications
and advisory locks belong to a whole database, so that services which run on it would hear of every commit that is none of theirs.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from router.errors import ConfigurationInvalid, StorageUnavailable
from router.storage.engine import answering, is_server, open_migrator, parse

PREFIX = "pointsman_bench_"
_ELSEWHERE = "or name another database with --database-url"


@dataclass(frozen=True, slots=True)
class Temporary:
    """An empty database without tables."""

    url: str
    place: str
    """Where it is, in words without a login."""
    folder: Path | None
    """On SQLite: one that is removed with it."""

    def size(self) -> int:
        """Bytes that it takes on disk. Raises ``StorageUnavailable``."""
        if self.folder is not None:
            return sum(file.stat().st_size for file in self.folder.iterdir())
        engine = open_migrator(self.url)
        try:
            with answering(), engine.connect() as connection:
                return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        finally:
            engine.dispose()


@contextmanager
def beside(url: str, *, room: int = 0) -> Iterator[Temporary]:
    """A database beside that of ``url``, which need not exist where it is a file; removed however the block ends.

    ``room``: bytes that must be free for it, where that can be known. Raises ``ConfigurationInvalid``, ``StorageUnavailable``.
    """
    with _database(parse(url)) if is_server(url) else _file(parse(url), room) as made:
        yield made


@contextmanager
def _file(url: URL, room: int) -> Iterator[Temporary]:
    name = url.database or ""
    folder = Path(name.removeprefix("file:").partition("?")[0] if name.startswith("file:") else name).absolute().parent
    own = folder / f"{PREFIX}{uuid4().hex[:12]}"
    try:
        _make(own, room)
        yield Temporary(f"sqlite:///{own / 'log.db'}", f"SQLite, a file in {folder}", own)
    finally:
        if own.is_dir():
            shutil.rmtree(own)


def _make(folder: Path, room: int) -> None:
    try:
        free = shutil.disk_usage(folder.parent).free
        folder.mkdir(mode=0o700)
    except OSError as exc:
        raise ConfigurationInvalid(
            f"no temporary file can be made in the folder of the database ({exc.strerror})",
            field="database_url",
            remedy=f"make the folder and let this user write there, {_ELSEWHERE}",
        ) from exc
    if free < room:
        raise ConfigurationInvalid(
            f"the disk of the database's folder has {free / 1e9:.1f} GB free, and this may take {room / 1e9:.1f} GB for a while",
            field="database_url",
            remedy=f"measure less, make room, {_ELSEWHERE}",
        )


@contextmanager
def _database(url: URL) -> Iterator[Temporary]:
    name = f"{PREFIX}{uuid4().hex[:12]}"
    try:
        _run(url, f"CREATE DATABASE {name}")
        own = url.set(database=name).render_as_string(hide_password=False)
        yield Temporary(own, f"PostgreSQL, a database of the server {url.host or 'behind the local socket'}", None)
    finally:
        _drop(url, name)


def _run(url: URL, statement: str) -> None:
    engine = open_migrator(url.render_as_string(hide_password=False))
    try:
        with answering(), engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(statement)
    except StorageUnavailable as exc:
        if getattr(getattr(exc.__cause__, "orig", None), "sqlstate", None) == _FORBIDDEN:
            raise ConfigurationInvalid(
                "the login of the database may not make a temporary one on its server",
                field="database_url",
                remedy=f"ALTER ROLE ... CREATEDB for the time being, {_ELSEWHERE}",
            ) from exc
        raise
    finally:
        engine.dispose()


_FORBIDDEN = "42501"


def _drop(url: URL, name: str) -> None:
    try:
        _run(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    except (StorageUnavailable, ConfigurationInvalid, DBAPIError) as exc:
        raise StorageUnavailable(
            "the temporary database could not be dropped", field=name, remedy=f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        ) from exc
