"""The demo, end to end in a process of its own: what it reports is what the database holds, and it learned."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from router.domain.events import FeedbackEvent, RegimeEvent
from router.storage.sql import SqlStore
from tests.cli.outcomes import outcome_rows, write_csv
from tests.end_to_end.service import environment

COMMAND = (sys.executable, "-m", "router.cli", "demo")


def demo(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    command = [*COMMAND, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_report_is_what_the_database_holds_and_it_learned(tmp_path: Path) -> None:
    report, progress = demo(tmp_path, "--requests", "1000", "--plain", "--db", "demo.db", "--seed", "5")
    assert report["database"] == str(tmp_path / "demo.db")
    store = SqlStore(f"sqlite:///{tmp_path}/demo.db")
    counts, events = store.counts(), store.read_log(0, 10_000)
    store.close()
    feedback = report["feedback"]
    assert report["decisions"] == report["outcomes"] == counts["decisions"] == counts["outcomes"] == 1_000
    assert feedback["given"] + feedback["corrected"] + feedback["retracted"] == counts["feedback"]
    assert feedback["given"] + feedback["never"] == 1_000
    assert 500 < feedback["given"] < 640
    assert feedback["late"] > 100
    regimes = sum(isinstance(event, RegimeEvent) for event in events)
    assert report["learned"]["seq"] == len(events) == sum(counts.values()) + regimes
    retracted = {event.feedback_id for event in events if isinstance(event, FeedbackEvent) and not event.after}
    assert len(retracted) == feedback["retracted"]
    assert sum(rule["n"] for rule in report["rules"]) <= feedback["given"]
    assert len({rule["task_type"] for rule in report["rules"]}) > 15
    comparison = report["comparison"]
    # what is drawn differs from run to run: by 0.057 on average, with a standard deviation of 0.009
    assert comparison["routed"]["utility"] > comparison["random"]["utility"] + 0.005
    assert comparison["routed"]["cost_usd"] < 0.5 * comparison["dearest_single"]["cost_usd"]
    assert comparison["best_quality_single"]["quality"] >= comparison["random"]["quality"]
    assert [change["kind"] for change in report["changes"]] == ["degraded", "price_cut"]
    assert "of 1,000 routed" in progress
    assert "silently degraded" in progress


def test_a_table_is_routed_and_its_rules_can_be_checked(tmp_path: Path) -> None:
    rows = outcome_rows()
    report, _ = demo(tmp_path, "--table", str(write_csv(tmp_path / "t.csv", rows)), "--db", "demo.db")
    assert (report["mode"], report["decisions"], report["feedback"]["given"]) == ("table", 400, 400)
    means: dict[tuple[str, str], float] = {}
    for task_type, model in {(row["task_type"], row["model"]) for row in rows}:
        cell = [row["quality"] for row in rows if (row["task_type"], row["model"]) == (task_type, model)]
        means[task_type, f"table/{model}"] = sum(cell) / len(cell)
    assert {rule["task_type"] for rule in report["rules"]} == {"easy", "hard"}
    for rule in report["rules"]:
        inside = {model: mean for (task_type, model), mean in means.items() if task_type == rule["task_type"]}
        assert rule["true_quality"] == pytest.approx(inside[rule["recommended"]])
        assert rule["true_best_quality"] == pytest.approx(max(inside.values()))
        assert rule["quality"]["low"] <= rule["true_quality"] <= rule["quality"]["high"]
        assert rule["true_quality"] > max(inside.values()) - 0.1
    hard = next(rule for rule in report["rules"] if rule["task_type"] == "hard")
    assert hard["recommended"] == "table/acme/dear"
    assert report["comparison"]["routed"]["quality"] > report["comparison"]["random"]["quality"] + 0.08


def test_an_interrupt_ends_a_live_demo_with_what_was_learned(tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    environ = environment() | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    running = subprocess.Popen([*COMMAND, "--db", "demo.db"], stdin=inner, stdout=inner, stderr=inner, cwd=tmp_path, env=environ)
    os.close(inner)
    shown, interrupted, give_up = b"", False, time.monotonic() + 600
    while time.monotonic() < give_up:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # the last reader of the terminal is gone
            break
        shown += piece
        if not interrupted and b"preferred: quality" in shown and b"scored" in shown:
            running.send_signal(signal.SIGINT)
            interrupted = True
        if not piece:
            break
    assert running.wait(120) == 0
    os.close(terminal)
    text = shown.decode()
    assert "interrupted: this is what was learned so far" in text
    assert "Where to look next" in text
    assert "Traceback" not in text
    assert not (tmp_path / "demo.db-wal").exists(), "the service ended in order"
