"""``pointsman bench``: what it reports, that it leaves nothing behind however it ends, and what is refused. Never how fast anything is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from router.bench.restart import restart
from router.errors import StorageUnavailable
from router.storage import schema
from router.testing.postgres import PostgresServer
from tests.cli.conftest import Command
from tests.cli.outcomes import outcome_rows, write_csv, write_parquet
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
    """What there is where the configured database is: its files, or the end of its log and the server's databases."""

    def seen() -> object:
        if configured.startswith("sqlite"):
            return {file.name for file in tmp_path.iterdir()}, (tmp_path / "pointsman.db").read_bytes()
        with psycopg.connect(configured.replace("+psycopg", "")) as connection:
            seq = connection.execute("SELECT seq FROM log_head").fetchone()
        return seq, databases(request.getfixturevalue("postgres_server"))

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
            deadline = time.monotonic() + 120
            while around() == before:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process.pid, kind)
            out, err = process.communicate(timeout=120)
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


MEAN = {"mean", "low", "high"}
POLICY = {
    "name", "quality", "cost_usd", "latency_s", "utility", "last_quarter_utility", "regret", "first_day_regret",
    "utility_beside_reference", "last_quarter_utility_beside_reference", "decisions_per_s", "curve",
}  # fmt: skip


def test_learning_plays_every_policy_on_the_same_streams(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "t.parquet", rows[:450])
    options = ("--cost-weight", 0.2, "--feedback-rate", 0.5)
    done = pointsman("bench", "learning", table, "--seeds", 3, "--workers", 1, "--json", *options)
    assert (done.status, done.err) == (0, "")
    report = done.json
    assert (report["rows"], report["prompts"], report["models"], report["decisions"], report["seeds"]) == (450, 150, 3, 150, 3)
    assert (report["reference"], report["fixed"], report["feedback_rate"]) == ("thompson", "acme/dear", 0.5)
    by_name = {policy["name"]: policy for policy in report["policies"]}
    assert by_name.keys() == {"thompson", "linucb", "greedy", "epsilon_greedy", "uniform", "fixed"}
    passes = [pointsman("replay", table, "--seed", seed, "--json", *options).json for seed in range(3)]
    ours = by_name["thompson"]
    for key in ("quality", "cost_usd", "latency_s", "utility"):
        assert ours[key]["mean"] == pytest.approx(np.mean([one[f"mean_{key}"] for one in passes]))
    assert ours["last_quarter_utility"]["mean"] == pytest.approx(np.mean([one["last_quarter"]["utility"] for one in passes]))
    assert (ours["utility_beside_reference"], ours["last_quarter_utility_beside_reference"]) == (None, None)
    for name, policy in by_name.items():
        assert policy.keys() == POLICY
        for key in ("utility", "regret", "first_day_regret"):
            assert policy[key].keys() == MEAN
            assert policy[key]["low"] <= policy[key]["mean"] <= policy[key]["high"]
        assert policy["curve"][-1]["decisions"] == 150
        assert policy["curve"][-1]["regret"]["mean"] == pytest.approx(150 * policy["regret"]["mean"])
        if name != "thompson":
            beside = policy["utility_beside_reference"]
            assert beside["mean"] == pytest.approx(policy["utility"]["mean"] - ours["utility"]["mean"])
    beside = by_name["linucb"]["utility_beside_reference"]
    by_hand = student([one["mean_utility"] for one in passes], pointsman, table, "linucb", options)
    assert (beside["low"], beside["high"]) == pytest.approx(by_hand)
    yards = {yard["name"]: yard for yard in report["hindsight"]}
    assert yards.keys() == {"random", "best_single", "best_per_task", "oracle"}
    for name, yard in yards.items():
        assert yard["utility"]["mean"] == pytest.approx(np.mean([one["baselines"][name]["utility"] for one in passes]))
    assert yards["random"]["utility"]["mean"] <= yards["best_single"]["utility"]["mean"] <= yards["oracle"]["utility"]["mean"]
    assert report["best_single_curve"][-1]["decisions"] == 150


def student(ours: list[float], pointsman: Command, table: Path, policy: str, options: tuple[object, ...]) -> tuple[float, float]:
    """Student's 95 % interval of a policy's utility beside ours over three seeds: t is 4.3027 with two degrees of freedom."""
    named = ("--policy", policy, "--baseline", "acme/dear", "--json", *options)
    gaps = [pointsman("replay", table, "--seed", seed, *named).json["mean_utility"] - own for seed, own in enumerate(ours)]
    half = 4.302652729911275 * np.std(gaps, ddof=1) / 3**0.5
    return np.mean(gaps) - half, np.mean(gaps) + half


def test_learning_in_processes_gives_the_same_and_a_picture(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", [{k: v for k, v in row.items() if k != "cost_usd"} for row in rows[:150]])
    options = ("bench", "learning", table, "--quick", "--seeds", 2, "--policies", "thompson,fixed,greedy")
    reports = [pointsman(*options, "--workers", n, "--json").json for n in (1, 2)]
    for report in reports:
        for policy in report["policies"]:
            assert policy.pop("decisions_per_s") > 0
    assert reports[0] == reports[1]
    assert [policy["name"] for policy in reports[0]["policies"]] == ["thompson", "greedy"], "no cost tells which model is the dearest"
    assert all(policy["cost_usd"] is None for policy in reports[0]["policies"])
    shown = pointsman(*options, "--workers", 1, "--baseline", "acme/poor")
    assert shown.status == 0
    for expected in ("beside thompson [95 %]", "fixed: acme/poor", "best per task type, in hindsight", "first 50", "100.0% of the scores"):
        assert expected in shown.out
    one = pointsman("bench", "learning", table, "--seeds", 1, "--workers", 1, "--policies", "thompson", "--json").json
    assert one["policies"][0]["utility"]["low"] is None


def test_a_picture_of_the_regret(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra notebooks")
    table = write_csv(tmp_path / "t.csv", rows[:150])
    line = ("bench", "learning", table, "--workers", 1, "--policies", "thompson,uniform", "--seeds")
    for seeds, name in ((1, "one.png"), (2, "two.svg")):
        assert pointsman(*line, seeds, "--picture", tmp_path / name).status == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "two.svg").read_text()
    for bad in (tmp_path / "no.txt", tmp_path / "no" / "such.png"):
        refused = pointsman(*line, 1, "--picture", bad)
        assert (refused.status, refused.out) == (2, "")
        assert "[picture]" in refused.err


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--seeds", "0"), "seeds"),
        (("--workers", "-1"), "workers"),
        (("--policies", "thompson,oracle"), "policies"),
        (("--policies", "greedy"), "policies"),
        (("--baseline", "acme/none"), "baseline"),
        (("--feedback-rate", "2"), "feedback-rate"),
        (("--quality-weight", "0"), "quality-weight"),
    ],
)
def test_a_plan_that_cannot_be_played_is_refused_before_anything_is(
    pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path, options: tuple[str, str], field: str
) -> None:
    refused = pointsman("bench", "learning", write_csv(tmp_path / "t.csv", rows[:30]), "--json", *options)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert f"[{field}]" in refused.err


@pytest.mark.parametrize(
    ("text", "field"),
    [(None, "table"), ("a,b\n1,2\n", "prompt_id"), ("prompt_id,task_type,model,quality\np,t,m,7\n", "quality")],
)
def test_a_table_that_cannot_be_read_names_what_is_missing(pointsman: Command, tmp_path: Path, text: str | None, field: str) -> None:
    table = tmp_path / "t.csv"
    if text is not None:
        table.write_text(text)
    refused = pointsman("bench", "learning", table)
    assert (refused.status, refused.err.count("\n"), refused.out) == (2, 1, "")
    assert f"[{field}]" in refused.err


def test_an_interrupt_ends_the_processes_that_play(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", outcome_rows())
    line = ["bench", "learning", table, "--workers", "2", "--seeds", "1000", "--json"]
    command = [sys.executable, "-m", "router.cli", *map(str, line)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while len(playing := children(process.pid)) < 3:  # two that play, and one of Python's own that keeps track of resources
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "")
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in playing):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Not so where it has ended and nobody has asked for its status yet: its parent is gone."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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
