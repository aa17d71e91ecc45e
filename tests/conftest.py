"""Logging that ends with each test, patience, and one PostgreSQL server with a database of its own for each test that asks."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from router.api import health, limits
from router.services import outage
from router.storage import engine, postgres, schema
from router.testing.postgres import PostgresServer

# the same examples every time, and none is wrong because the machine has much else to do
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

_numbers = itertools.count(1)
PATIENCE_S = 60


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """No service in this process gives up its database or a caller because the machine is busy; a test of such a limit sets it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(health, "_WITHIN_S", float(PATIENCE_S))
        patched.setattr(limits, "DRAIN_S", float(PATIENCE_S))
        patched.setattr(outage, "PATIENCE_S", float(PATIENCE_S))
        patched.setattr(engine, "BUSY_TIMEOUT_MS", 1_000 * PATIENCE_S)
        for name in ("CONNECT_WITHIN_S", "POOL_TIMEOUT_S", "READ_WITHIN_S", "WRITE_WITHIN_S"):
            patched.setattr(postgres, name, PATIENCE_S)
        for kind in (postgres.BoundedConnection, postgres._PatientConnection):
            patched.setattr(kind, "within_s", float(PATIENCE_S))
        yield


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a test sets up to log with writes to a stream that ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        execute(server, "CREATE DATABASE template_log")
        schema.upgrade(server.url("template_log"))
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty log, copied from a template."""
    name = f"log_{next(_numbers)}"
    execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template_log STRATEGY wal_log")
    yield postgres_server.url(name)
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without tables."""
    name = f"empty_{next(_numbers)}"
    execute(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(server: PostgresServer, statement: str) -> None:
    """Run a statement outside of a transaction."""
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())
