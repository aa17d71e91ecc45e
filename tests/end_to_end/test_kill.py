"""Kill -9 of the service at random moments under load: nothing acknowledged is lost or counted twice; what is learned is the log's.

``POINTSMAN_KILL_ROUNDS=30`` makes more rounds and prints their figures with ``-s``.
"""

import os
import random
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learning.learner import Learner
from router.config import Settings
from router.demo.service import Caller, settled
from router.domain.events import DecisionEvent, FeedbackEvent, LogEvent, OutcomeEvent
from router.domain.evidence import fold as fold_event
from router.errors import StorageUnavailable
from router.parts import RECORDS_PER_DECISION
from router.storage.sql import SqlStore
from tests.end_to_end.service import Service

ROUNDS = int(os.environ.get("POINTSMAN_KILL_ROUNDS", "8"))
CALLERS = 8
LONGEST_S = 1.5
TASKS = ("code_generation", "classification", "summarization", "quick_qa", "a_type_of_its_own")


@dataclass
class Acknowledged:
    """What the callers were told, over all rounds. ``unsure``: bodies that were sent and got no answer."""

    decisions: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    feedback: dict[tuple[str, int], int] = field(default_factory=dict)
    """(feedback id, revision) -> seq"""
    scored: dict[str, tuple[str, float]] = field(default_factory=dict)
    """decision -> (feedback id, first score)"""
    unsure: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def more_than(self, decisions: int, feedback: int) -> bool:
        with self.lock:
            return len(self.decisions) > decisions and len(self.feedback) > feedback


def work(address: str, known: Acknowledged, seed: int) -> None:
    """Route, report, score, correct and retract until the service is gone."""
    rng = random.Random(seed)
    with suppress(StorageUnavailable), closing(Caller(address)) as caller:
        while True:
            decided = caller.call("POST", "/v1/route", {"task_type": rng.choice(TASKS), "context_tokens": rng.randrange(50, 5_000)})
            decision_id = decided["decision_id"]
            with known.lock:
                known.decisions[decision_id] = known.decisions.get(decision_id, 0) + 1
            send(caller, known, "/v1/outcomes", outcome(decision_id, rng))
            if rng.random() < 0.7:
                score = {"decision_id": decision_id, "judge": "killer", "score": round(rng.random(), 3)}
                given = send(caller, known, "/v1/feedback", score)
                if rng.random() < 0.2:
                    with known.lock:
                        del known.scored[decision_id]  # it may or may not hold from here on
                    change = ("PUT", {"score": 0.5}) if rng.random() < 0.5 else ("DELETE", None)
                    note(known, caller.call(change[0], f"/v1/feedback/{given['feedback_id']}", change[1]))


def outcome(decision_id: str, rng: random.Random) -> dict[str, Any]:
    return {"decision_id": decision_id, "latency_s": rng.uniform(0.2, 9.0), "output_tokens": rng.randrange(5, 900), "cost_usd": 0.001}


def send(caller: Caller, known: Acknowledged, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = caller.call("POST", path, body)
    except StorageUnavailable:
        with known.lock:
            known.unsure.append((path, body))
        raise
    if path == "/v1/feedback":
        note(known, answer)
        with known.lock:
            known.scored[body["decision_id"]] = (answer["feedback_id"], body["score"])
    else:
        with known.lock:
            known.outcomes[body["decision_id"]] = answer["seq"]
    return answer


def note(known: Acknowledged, answer: dict[str, Any]) -> None:
    with known.lock:
        key = (answer["feedback_id"], answer["revision"])
        assert known.feedback.setdefault(key, answer["seq"]) == answer["seq"], "one revision was acknowledged at two positions"


def repeat(address: str, known: Acknowledged) -> int:
    """Send again what got no answer, twice, and some of what did: a caller cannot know which was stored."""
    unsure, known.unsure = known.unsure, []
    told = [(decision_id, *score) for decision_id, score in sorted(known.scored.items())]
    with closing(Caller(address)) as caller:
        for path, body in unsure:
            first = send(caller, known, path, body)
            assert send(caller, known, path, body)["seq"] == first["seq"]
        for decision_id, feedback_id, score in random.Random(len(told)).sample(told, min(5, len(told))):
            again = caller.call("POST", "/v1/feedback", {"decision_id": decision_id, "judge": "killer", "score": score})
            assert (again["repeated"], again["feedback_id"]) == (True, feedback_id), "an acknowledged score was taken for a new one"
    return len(unsure)


def fold(events: list[LogEvent]) -> tuple[str, int]:
    """The digest of a fresh learner that folds the whole log, and the number of decisions with a score in force."""
    learner = Learner(float(Settings.model_fields["half_life_decisions"].default) * RECORDS_PER_DECISION, trusted=Settings().trusted)
    active: dict[str, bool] = {}
    for event in events:
        fold_event(learner, event)
        if isinstance(event, FeedbackEvent):
            active[event.decision_id] = bool(event.after)
        learner.advance(event.seq)
    return learner.digest(), sum(active.values())


def check_log(events: list[LogEvent], known: Acknowledged) -> None:
    """Every acknowledged record is in the log exactly once, at the position that was told."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    decisions = Counter(event.decision.id for event in events if isinstance(event, DecisionEvent))
    feedback = Counter((event.feedback_id, event.revision) for event in events if isinstance(event, FeedbackEvent))
    outcomes = Counter(event.outcome.decision_id for event in events if isinstance(event, OutcomeEvent))
    for counted in (decisions, feedback, outcomes):
        assert not counted or max(counted.values()) == 1
    assert known.decisions.keys() <= decisions.keys()
    assert set(known.decisions.values()) <= {1}
    at = {(e.feedback_id, e.revision): e.seq for e in events if isinstance(e, FeedbackEvent)}
    assert known.feedback.items() <= at.items()
    ended = {e.outcome.decision_id: e.seq for e in events if isinstance(e, OutcomeEvent)}
    assert known.outcomes.items() <= ended.items()


def read_log(database: Path) -> list[LogEvent]:
    store = SqlStore(f"sqlite:///{database}")
    try:
        return store.read_log(0, 10_000_000)
    finally:
        store.close()


def learned(address: str) -> dict[str, Any]:
    """Readiness, and the number of scores that the learned state holds."""
    with closing(Caller(address)) as caller:
        return settled(caller) | {"scores": sum(row["n"] for row in caller.call("GET", "/v1/policy")["task_types"])}


def test_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    rng, known, database = random.Random(7), Acknowledged(), tmp_path / "log.db"
    repeated, failures = 0, []
    options = ("--database-url", f"sqlite:///{database}")

    def guarded(address: str, seed: int) -> None:
        try:
            work(address, known, seed)
        except Exception as exc:  # noqa: BLE001 - whatever a caller meets is the test's to report
            failures.append(exc)

    for turn in range(ROUNDS):
        service = Service(tmp_path, *options)
        events = read_log(database)
        ready = learned(service.address)
        digest, scored = fold(events)
        assert (ready["seq"], ready["digest"]) == (len(events), digest), "the learned state is not that of the log"
        assert ready["scores"] == scored, "a score counts twice or not at all"
        if turn % 5 == 4:  # a stop in order leaves a snapshot: later starts are from it and from what came after
            service.stop()
            service = Service(tmp_path, *options)
            assert learned(service.address)["digest"] == digest
        repeated += repeat(service.address, known)
        threads = [threading.Thread(target=guarded, args=(service.address, 1_000 * turn + i)) for i in range(CALLERS)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.02, LONGEST_S))
        give_up = time.monotonic() + 120
        while not failures and not known.more_than(10 * (turn + 1), 5 * (turn + 1)) and time.monotonic() < give_up:
            time.sleep(0.01)  # on a busy machine: a kill before anything was acknowledged shows nothing
        service.kill()
        for thread in threads:
            thread.join()
        assert not failures, failures
        check_log(read_log(database), known)
    events = read_log(database)
    sys.stdout.write(
        f"\n{ROUNDS} kills: {len(known.decisions)} decisions, {len(known.outcomes)} outcomes and {len(known.feedback)} scores and changes "
        f"acknowledged, {repeated} sent again because their answer was lost; {len(events)} records in the log, none lost, none twice\n"
    )
    assert known.more_than(10 * ROUNDS, 5 * ROUNDS)
