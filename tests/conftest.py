"""Logging that ends with each test; one PostgreSQL server for the session, and a database of its own for each test that asks."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from router.storage import schema
from router.testing.postgres import PostgresServer

# the same examples every time, and none is wrong because the machine has much else to do
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

_numbers = itertools.count(1)


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
