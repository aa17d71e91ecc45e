"""What is particular to PostgreSQL: the order of commits over many processes, partitions, faults of the server, plans of queries."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from router.domain.events import Committed
from router.errors import SchemaTooNew, StorageUnavailable
from router.storage import postgres, schema
from router.storage.sql import SqlStore
from router.storage.tables import metadata
from router.testing.postgres import PostgresServer
from tests.conftest import PATIENCE_S


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    made = SqlStore(postgres_url)
    yield made
    made.close()


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_no_reader_ever_sees_a_gap_that_is_filled_later(postgres_url, make):
    """Four writers; a reader that follows the log by what it sees must end up with all of it, each position once."""
    stores = [SqlStore(postgres_url, "normal") for _ in range(4)]
    done = threading.Event()
    seen: list[int] = []

    def write(n: int) -> None:
        for i in range(40):
            stores[n].commit([make.decision(f"d{n}-{i}-{k}") for k in range(1 + i % 3)] + [make.feedback(f"f{n}-{i}", f"d{n}-{i}-0")])

    def follow() -> None:
        while True:
            finished = done.is_set()  # before the look: nothing is added after it
            page = stores[0].read_log(seen[-1] if seen else 0, 500)
            seen.extend(event.seq for event in page)
            if finished and not page:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert seen == list(range(1, stores[0].last_seq() + 1))
    for store in stores:
        store.close()


def test_the_log_goes_on_into_new_partitions(postgres_url, make, monkeypatch):
    monkeypatch.setattr(postgres, "PARTITION", 10)
    store = SqlStore(postgres_url)
    for i in range(12):
        store.commit([make.decision(f"d{i}"), make.outcome(f"d{i}"), make.feedback(f"f{i}", f"d{i}", idempotency_key=f"k{i}")])
    assert len(run(postgres_url, "SELECT relname FROM pg_class WHERE relname ~ '^decisions_[0-9]+$' AND relkind = 'r'")) >= 4
    assert [e.seq for e in store.read_log(0, 100)] == list(range(1, 37))
    assert store.commit([make.feedback("again", "d0", idempotency_key="k0"), make.outcome("d1")]) == [
        Committed(3, "f0", repeated=True),
        Committed(5, "d1", repeated=True),
    ]
    assert store.decision("d11").outcome is not None
    store.close()


def test_migrations_and_tables_describe_the_same_columns(postgres_url):
    engine = create_engine(postgres_url, use_native_hstore=False)
    try:
        with engine.connect() as connection:
            options = {"compare_type": True, "include_name": lambda name, _kind, _parents: name != "log_head"}
            context = MigrationContext.configure(connection, opts=options)
            found = [d for d in compare_metadata(context, metadata) if isinstance(d, list) or d[0] not in _INDEXES]
            assert found == []
    finally:
        engine.dispose()


_INDEXES = {"remove_index", "add_index", "add_constraint", "remove_constraint", "add_fk", "remove_fk"}
"""What is unique or refers to another table on SQLite is indexed over partitions on PostgreSQL; the plans below say that it suffices."""


def test_no_query_of_the_service_reads_a_whole_table(postgres_url, make):
    store = SqlStore(postgres_url)
    heard: list[tuple[str, object]] = []
    for engine in (store._writer, store._reader):
        event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, parameters, *_: heard.append((statement, parameters)))
    for _ in range(2):
        store.commit([make.decision("d1"), make.outcome("d1"), make.feedback("f1", idempotency_key="k"), make.change("f1", 0.5)])
        store.read_log(0, 100)
        store.read_evidence(0, 100)
        store.decision("d1")
        store.decisions(task_type="code_generation", before_seq=9)
        store.decisions(model="b/two")
        store.decisions(episode_id="e1")
        store.last_seq()
    asked = {statement: parameters for statement, parameters in heard if statement.lstrip().startswith("SELECT") and "seq" in statement}
    assert len(asked) > 12
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("SET enable_seqscan = off")  # on a table of one page a scan is the better plan: is there another?
        for statement, parameters in asked.items():
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {statement}".encode(), parameters))
            scanned = [line for line in plan.splitlines() if "Seq Scan" in line and "log_head" not in line]
            assert scanned == [], f"{statement}\n{plan}"
    store.close()


def test_a_killed_connection_costs_no_write(store, postgres_url, make):
    store.commit([make.decision("d1")])
    run(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pointsman'")
    assert store.commit([make.decision("d2")]) == [Committed(2, "d2")]
    assert store.last_seq() == 2


def test_a_connection_that_is_lost_while_rows_go_in_costs_no_write(store, postgres_url, make, monkeypatch):
    store.commit([make.decision("d1")])
    ends = iter([True])
    insert = postgres.ServerTurns.insert

    def cut_short(turns, connection, table, rows):
        if next(ends, False):
            run(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pointsman'")
        insert(turns, connection, table, rows)

    monkeypatch.setattr(postgres.ServerTurns, "insert", cut_short)
    assert store.commit([make.decision("d2"), make.outcome("d2")]) == [Committed(2, "d2"), Committed(3, "d2")]


def test_what_the_server_cannot_store_fails_alone(store, make):
    with pytest.raises(DBAPIError) as error:
        store.commit([make.decision("d1"), make.outcome("d1", output_tokens=2**80)])
    assert not isinstance(error.value, OperationalError)
    assert store.commit([make.decision("d1")]) == [Committed(1, "d1")]


def test_a_server_that_is_away_is_unavailable_and_then_back(make):
    with PostgresServer() as server:
        schema.upgrade(server.url())
        store = SqlStore(server.url())
        store.commit([make.decision("d1")])
        for mode in ("fast", "immediate"):
            server.stop(mode)
            for use in (store.check, store.last_seq, lambda: store.decision("d1"), lambda: store.commit([make.decision("d2")]), store.keys):
                with pytest.raises(StorageUnavailable) as error:
                    use()
                assert error.value.retry_after_s
            server.start()
            store.check()
            assert store.decision("d1") is not None
        assert store.commit([make.decision("d2")]) == [Committed(2, "d2")]
        store.close()


def test_a_silent_server_is_given_up(postgres_server, postgres_url, make, monkeypatch):
    """A process that holds the log and is stopped: whoever waits for its turn learns so in bounded time."""
    monkeypatch.setattr(postgres.BoundedConnection, "within_s", 0.3)
    store = SqlStore(postgres_url)
    store.commit([make.decision("d1")])
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("SELECT * FROM log_head FOR UPDATE")
        started = time.monotonic()
        with pytest.raises(StorageUnavailable):
            store.commit([make.decision("d2")])
        assert time.monotonic() - started < PATIENCE_S, "by its own limit, and not by the server's"
        assert store.last_seq() == 1
    assert store.commit([make.decision("d2")]) == [Committed(2, "d2")]
    store.close()


def test_services_that_start_together_migrate_once(empty_postgres_url):
    ready: list[bool] = []
    threads = [threading.Thread(target=lambda: ready.append(schema.upgrade(empty_postgres_url).ready)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ready == [True] * 4
    assert run(empty_postgres_url, "SELECT seq FROM log_head") == [(0,)]


def test_a_newer_schema_is_refused_at_the_start_and_borne_by_what_runs(store, postgres_url, make):
    store.check()
    run(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    store.check()
    assert store.commit([make.decision("d1")]) == [Committed(1, "d1")]
    late = SqlStore(postgres_url)
    for refused in (late.check, lambda: schema.upgrade(postgres_url)):
        with pytest.raises(SchemaTooNew, match="9999"):
            refused()
    late.close()


def test_a_missing_table_is_the_databases_fault(store, postgres_url, make):
    store.commit([make.decision("d1")])
    run(postgres_url, "DROP TABLE feedback CASCADE")
    with pytest.raises(StorageUnavailable):
        store.decision("d1")
    with pytest.raises(StorageUnavailable):
        store.commit([make.feedback("f1")])


def test_up_down_up(empty_postgres_url):
    from alembic import command

    schema.upgrade(empty_postgres_url)
    engine = create_engine(empty_postgres_url, use_native_hstore=False)
    try:
        with engine.begin() as connection:
            command.downgrade(schema.config(connection), "base")
    finally:
        engine.dispose()
    kept = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    assert run(empty_postgres_url, kept) == [("alembic_version",)]
    assert schema.upgrade(empty_postgres_url).ready
