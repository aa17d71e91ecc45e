"""``pointsman bench``: what it reports, that it leaves nothing behind however it ends, and what is refused. Never how fast anything is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from router.bench.restart import restart
from router.errors import StorageUnavailable
from router.storage import schema
from router.storage.sql import SqlStore
from router.testing.postgres import PostgresServer
from tests.cli.conftest import Command
from tests.conftest import execute
from tests.end_to_end.service import environment

PACE = {"per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_us", "rows_per_commit"}


@pytest.fixture(params=["sqlite", "postgres"])
def configured(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The operator's database, with a log in it."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    url = f"sqlite:///{tmp_path / 'pointsman.db'}"
    schema.upgrade(url)
    return url


@pytest.fixture
def around(request: pytest.FixtureRequest, configured: str, tmp_path: Path) -> Callable[[], object]:
    """What there is where the configured database is: its files, or the server's databases, and what the log holds."""

    def seen() -> object:
        store = SqlStore(configured)
        try:
            counted = store.counts(), store.last_seq()
        finally:
            store.close()
        if configured.startswith("sqlite"):
            return counted, {file.name for file in tmp_path.iterdir()}, (tmp_path / "pointsman.db").read_bytes()
        return counted, databases(request.getfixturevalue("postgres_server"))

    return seen


def databases(server: PostgresServer) -> set[str]:
    with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'pointsman_bench%'")}


def paced(pace: dict[str, Any]) -> None:
    assert pace.keys() == PACE
    assert pace["per_s"] > 0
    assert pace["cpu_us"] >= 0
    assert 0 < pace["p50_ms"] <= pace["p95_ms"] <= pace["p99_ms"]


def test_routing_on_a_database_of_its_own(pointsman: Command, configured: str, around: Callable[[], object]) -> None:
    before = around()
    done = pointsman("bench", "routing", "--seconds", 0.06, "--callers", "1,3", "--models", 5, "--json", "--database-url", configured)
    assert (done.status, done.err) == (0, "")
    report = done.json
    assert (report["bench"], report["durability"], report["seconds"], report["policy"]) == ("routing", "full", 0.06, "thompson")
    assert 0 < report["models"] <= 5
    paced(report["decide"])
    assert [turn["callers"] for turn in report["by_callers"]] == [1, 3]
    for turn in report["by_callers"]:
        for name in ("route", "log", "raw"):
            paced(turn[name])
            assert 1 <= turn[name]["rows_per_commit"] <= turn["callers"]
        for name in ("route", "log"):
            assert turn[f"{name}_share_of_raw"] == pytest.approx(turn[name]["per_s"] / turn["raw"]["per_s"])
    assert "@" not in report["database"]
    assert around() == before


def test_routing_in_memory_has_no_raw_limit(pointsman: Command, tmp_path: Path) -> None:
    done = pointsman("bench", "routing", "--seconds", 0.06, "--callers", "2", "--json", "--database-url", "memory://")
    (turn,) = done.json["by_callers"]
    paced(turn["route"])
    assert (turn["raw"], turn["route_share_of_raw"], done.json["durability"]) == (None, None, "none")
    assert not list(tmp_path.iterdir())


def test_what_people_read_says_what_was_measured(pointsman: Command, tmp_path: Path) -> None:
    done = pointsman("bench", "routing", "--seconds", 0.06, "--callers", "2", "--models", 3, "--durability", "normal")
    assert (done.status, done.err) == (0, "")
    for expected in ("durability normal", "no power loss", str(tmp_path), "p95 ms", "decide", "route", "log", "raw", "of raw"):
        assert expected in done.out
    assert not list(tmp_path.iterdir()), "the configured database does not exist, and is not made"


def test_fold_starts_services_over_a_log_of_its_own(pointsman: Command, configured: str, around: Callable[[], object]) -> None:
    before = around()
    done = pointsman("bench", "fold", "--records", 600, "--json", "--database-url", configured)
    assert (done.status, done.err) == (0, "")
    report = done.json
    assert report["same"] is True
    assert report["records"] >= 600
    assert report["fold"]["records"] == report["records"] == report["from_start"]["seq"] == report["from_snapshot"]["seq"]
    assert report["from_start"]["digest"] == report["from_snapshot"]["digest"] != report["empty"]["digest"]
    assert report["bytes_per_record"] > 0
    for start in ("empty", "from_start", "from_snapshot"):
        assert report[start]["seconds"] > 0
        assert report[start]["cpu_s"] > 0
        assert report[start]["peak_mb"] > 10
    assert around() == before


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(configured: str, around: Callable[[], object], tmp_path: Path, kind: signal.Signals) -> None:
    before = around()
    command = [sys.executable, "-m", "router.cli", "bench", "routing", "--seconds", "100", "--callers", "2", "--database-url", configured]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while around() == before:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process.pid, kind)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "")
    assert around() == before


def test_a_login_that_may_not_make_a_database_is_told_what_to_do(
    pointsman: Command, postgres_server: PostgresServer, postgres_url: str
) -> None:
    execute(postgres_server, "CREATE ROLE plain LOGIN")
    try:
        refused = pointsman("bench", "routing", "--json", "--database-url", postgres_url.replace("postgres@", "plain@"))
    finally:
        execute(postgres_server, "DROP ROLE plain")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "[database_url]" in refused.err
    assert "CREATEDB" in refused.err
    assert not databases(postgres_server)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("routing --seconds 0", "seconds"),
        ("routing --seconds nan", "seconds"),
        ("routing --callers 0", "callers"),
        ("routing --callers one", "callers"),
        ("routing --models 0", "models"),
        ("routing --models 100000 --database-url memory://", "models"),
        ("routing --durability some", "durability"),
        ("routing --database-url sqlite:///no/such/folder/x.db", "database_url"),
        ("fold --records 0", "records"),
        ("fold --database-url memory://", "database_url"),
        ("fold --records 100000000", "database_url"),
    ],
)
def test_what_cannot_be_measured_is_one_line_with_field_and_remedy(pointsman: Command, tmp_path: Path, line: str, field: str) -> None:
    refused = pointsman("bench", *line.split(), "--json")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1), refused.err
    assert f"[{field}]" in refused.err
    assert ": " in refused.err.partition("]")[2]
    assert not list(tmp_path.iterdir())


def test_a_restart_needs_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "__init__.py").write_text("raise ImportError('not this one')")
    monkeypatch.chdir(tmp_path)
    assert restart({"database_url": "memory://"}).digest


def test_a_restart_that_fails_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StorageUnavailable):
        restart({"database_url": f"sqlite:///{tmp_path}/no/such/folder/x.db"})
    assert "database" in capfd.readouterr().err
