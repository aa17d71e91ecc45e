"""Acknowledged means durable: a process killed at a random moment loses nothing that it has said."""

import random
import subprocess
import sys
import threading
from pathlib import Path

from router.domain.events import DecisionEvent, FeedbackEvent
from router.storage import schema
from router.storage.sql import SqlStore

CHILD = Path(__file__).with_name("acknowledging_child.py")
KILLS = 5


def run_until_killed(url: str, run: str, lines: int) -> list[str]:
    """Kill the child once it has printed about ``lines``, and return every whole line that it got out."""
    child = subprocess.Popen([sys.executable, str(CHILD), url, run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(300, child.kill)
    watchdog.start()
    assert child.stdout is not None
    printed: list[str] = []
    for line in child.stdout:
        printed.append(line)
        if len(printed) == lines:
            child.kill()  # SIGKILL; what is in the pipe by then was acknowledged too
    _, errors = child.communicate()
    watchdog.cancel()
    assert len(printed) >= lines, errors
    return [line for line in printed if line.endswith("\n")]


def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    schema.upgrade(url)
    rng = random.Random(20)
    acknowledged: dict[int, tuple[str, str]] = {}
    for run in range(KILLS):
        for line in run_until_killed(url, str(run), rng.randrange(1, 1500)):
            kind, name, seq = line.split()
            assert int(seq) not in acknowledged
            acknowledged[int(seq)] = (kind, name)

        store = SqlStore(url)
        events = store.read_log(0, 1_000_000)
        store.close()
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        logged: dict[int, tuple[str, str]] = {}
        for event in events:
            if isinstance(event, DecisionEvent):
                logged[event.seq] = ("Decision", event.decision.id)
            elif isinstance(event, FeedbackEvent):
                logged[event.seq] = ("Feedback", event.feedback_id)
            else:
                logged[event.seq] = ("Outcome", event.outcome.decision_id)
        assert len(set(logged.values())) == len(logged)
        assert acknowledged.items() <= logged.items()
