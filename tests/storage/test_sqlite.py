"""What is particular to the database file: locks, faults, and what reaches the disk."""

import sqlite3
import threading
from pathlib import Path

import pytest

from router.domain.events import Committed
from router.errors import StorageUnavailable
from router.storage import engine, schema
from router.storage.sql import SqlStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def url(file: Path) -> str:
    schema.upgrade(f"sqlite:///{file}")
    return f"sqlite:///{file}"


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_durability_is_what_was_asked_for(url, durability, synchronous):
    writer = engine.open_writer(url, durability)
    try:
        with writer.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    finally:
        writer.dispose()


def test_readers_cannot_write(url):
    reader = engine.open_reader(url)
    try:
        with pytest.raises(StorageUnavailable), engine.answering(), reader.connect() as connection:
            connection.exec_driver_sql("DELETE FROM decisions")
    finally:
        reader.dispose()


def test_the_log_survives_closing(url, make):
    store = SqlStore(url)
    store.commit([make.decision("d1"), make.feedback("f1", idempotency_key="k")])
    events = store.read_log(0, 10)
    store.close()
    again = SqlStore(url)
    assert again.read_log(0, 10) == events
    assert again.commit([make.feedback("f2", idempotency_key="k"), make.decision("d2")]) == [
        Committed(2, "f1", repeated=True),
        Committed(3, "d2"),
    ]
    again.close()


def test_a_second_store_on_the_file_shares_the_counter_and_the_keys(url, make):
    one, two = SqlStore(url, "normal"), SqlStore(url, "normal")
    for i in range(20):
        (one if i % 2 else two).commit([make.decision(f"d{i}"), make.feedback(f"f{i}", f"d{i}", idempotency_key=f"k{i}")])
    assert [e.seq for e in one.read_log(0, 100)] == list(range(1, 41))
    assert one.commit([make.feedback("again", "d0", idempotency_key="k0")]) == [Committed(2, "f0", repeated=True)]
    one.close()
    two.close()


def test_two_stores_on_the_file_may_commit_at_the_same_time(url, make):
    stores = {"a": SqlStore(url, "normal"), "b": SqlStore(url, "normal")}
    results: list[Committed] = []

    def write(name: str) -> None:
        for i in range(50):
            results.extend(stores[name].commit([make.decision(f"{name}{i}"), make.feedback(f"f-{name}{i}", f"{name}{i}")]))

    threads = [threading.Thread(target=write, args=(name,)) for name in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.seq for result in results) == list(range(1, 201))
    assert [event.seq for event in stores["a"].read_log(0, 1000)] == list(range(1, 201))
    for store in stores.values():
        store.close()


def test_a_write_lock_held_elsewhere_stops_writes_and_not_reads(url, file, make, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    store = SqlStore(url)
    store.commit([make.decision("d1")])
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable) as error:
        store.commit([make.decision("d2")])
    assert error.value.remedy
    assert error.value.__cause__ is not None
    assert store.last_seq() == 1
    other.execute("ROLLBACK")
    other.close()
    assert store.commit([make.decision("d2")]) == [Committed(2, "d2")]
    store.close()


def test_an_open_read_does_not_stop_writes(url, file, make):
    store = SqlStore(url)
    store.commit([make.decision("d1")])
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM decisions").fetchone() == (1,)
    store.commit([make.decision("d2")])
    assert reader.execute("SELECT count(*) FROM decisions").fetchone() == (1,)
    reader.close()
    assert store.last_seq() == 2
    store.close()


def test_a_folder_that_is_not_there(tmp_path, make):
    url = f"sqlite:///{tmp_path / 'missing' / 'log.db'}"
    store = SqlStore(url)
    for use in (store.check, store.last_seq, lambda: store.commit([make.decision()]), lambda: schema.upgrade(url)):
        with pytest.raises(StorageUnavailable):
            use()
    store.close()


def test_a_file_that_is_no_database(file, make):
    file.write_bytes(b"this is not a database, it only looks like a file " * 100)
    url = f"sqlite:///{file}"
    store = SqlStore(url)
    for use in (store.check, store.last_seq, lambda: store.commit([make.decision()]), lambda: schema.check(url)):
        with pytest.raises(StorageUnavailable):
            use()
    store.close()


def test_a_closed_store_says_so(url, make):
    store = SqlStore(url)
    store.close()
    store.close()
    for use in (store.check, lambda: store.commit([make.decision()])):
        with pytest.raises(StorageUnavailable, match="closed"):
            use()


def test_errors_never_show_what_was_to_be_stored(url, file, make):
    store = SqlStore(url)
    store.commit([make.decision("d1")])
    other = sqlite3.connect(file)
    other.execute("DROP TABLE feedback")
    other.close()
    with pytest.raises(StorageUnavailable) as error:
        store.commit([make.feedback("f1", comment="a secret", idempotency_key="a secret")])
    cause = error.value.__cause__
    while cause is not None:
        assert "secret" not in str(cause)
        cause = cause.__cause__
    store.close()


def test_a_failed_commit_leaves_nothing_behind(url, file, make):
    store = SqlStore(url)
    with pytest.raises(OverflowError):
        store.commit([make.decision("d1"), make.outcome("d1", output_tokens=2**80)])
    assert store.last_seq() == 0
    assert store.commit([make.decision("d1")]) == [Committed(1, "d1")]
    store.close()
