"""Concurrent callers: each routes a job, reports what the call did, and scores some of the answers, at once or much later."""

import heapq
import itertools
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.demo.service import Caller
from router.demo.tally import Tally
from router.demo.workload import Happened, Job, Workload
from router.errors import RouterError

JUDGE = "demo"
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Habits:
    """How callers give feedback."""

    scored: float
    """Share of calls that are scored at all."""
    mistaken: float = 0.0
    """Share of scores that are wrong at first and corrected later."""
    retracted: float = 0.0

    def delay(self, rng: random.Random) -> int:
        """How many other jobs are routed before the score is sent."""
        chance = rng.random()
        return 0 if chance < 0.5 else rng.randrange(10, 150) if chance < 0.85 else rng.randrange(150, 800)


@dataclass(slots=True)
class Counts:
    """Acknowledged calls."""

    decisions: int = 0
    outcomes: int = 0
    feedback: int = 0
    corrected: int = 0
    retracted: int = 0
    late: int = 0
    """Scores that came after other jobs had been routed."""


@dataclass(frozen=True, slots=True)
class _Score:
    decision_id: str
    says: Mapping[str, Any]
    delay: int
    corrected_to: Mapping[str, Any] | None
    retract: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """A PUT, or a DELETE where ``says`` is None."""

    feedback_id: str
    says: Mapping[str, Any] | None


class Driver:
    """Runs the jobs on several threads. ``lock`` guards ``tally`` and ``counts``."""

    def __init__(self, address: str, workload: Workload, tally: Tally, habits: Habits, *, seed: int, clients: int = 12) -> None:
        self.lock = threading.Lock()
        self.tally = tally
        self.counts = Counts()
        self._address = address
        self._workload = workload
        self._habits = habits
        self._seed = seed
        self._half = max(1, len(workload.jobs) // 2)
        self._tail = max(1, len(workload.jobs) // 4)
        self._jobs = iter(workload.jobs)
        self._due: list[tuple[int, int, _Score | _Change]] = []
        self._ticket = itertools.count()
        self._stop = threading.Event()
        self._failed: RouterError | None = None
        self._threads = [threading.Thread(target=self._work, name=f"caller-{i}", daemon=True) for i in range(clients)]

    def start(self) -> None:
        """Let the callers call."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more jobs; what is under way is finished."""
        self._stop.set()

    @property
    def running(self) -> bool:
        """False once every caller is done."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the callers, and send what feedback is still due.

        Raises what a caller met.
        """
        for thread in self._threads:
            thread.join()
        if self._failed is not None:
            raise self._failed
        caller = Caller(self._address)
        try:
            while self._due:
                self._send_due(caller, everything=True)
        finally:
            caller.close()

    def _work(self) -> None:
        caller = Caller(self._address)
        try:
            while not self._stop.is_set():
                with self.lock:
                    job = next(self._jobs, None)
                if job is None:
                    return
                self._serve(caller, job)
                self._send_due(caller)
        except RouterError as exc:
            self._failed = self._failed or exc
            self._stop.set()
        finally:
            caller.close()

    def _serve(self, caller: Caller, job: Job) -> None:
        decision = caller.call("POST", "/v1/route", job.body)
        model, decision_id = decision["model"], decision["decision_id"]
        happened = self._workload.what_if(job)
        call = happened.get(model)
        caller.call("POST", "/v1/outcomes", {"decision_id": decision_id, **_outcome(call)})
        with self.lock:
            self.counts.decisions += 1
            self.counts.outcomes += 1
            if call is None:
                self.tally.fallbacks += 1
                return
            self.tally.record(job, min(1, job.number // self._half), model, happened, tail=self._tail)
            score = self._opinion(job, call, decision_id)
            if score is not None:
                self._later(score.delay, score)

    def _opinion(self, job: Job, call: Happened, decision_id: str) -> _Score | None:
        rng, habits = random.Random(f"{self._seed}-{job.number}"), self._habits
        if call.failed or rng.random() >= habits.scored:
            return None
        says = self._workload.score(job, call)
        fate = rng.random()
        if fate < habits.mistaken:
            return _Score(decision_id, {"score": round(1.0 - call.quality, 6)}, habits.delay(rng), says, False)
        return _Score(decision_id, says, habits.delay(rng), None, fate < habits.mistaken + habits.retracted)

    def _later(self, delay: int, item: _Score | _Change) -> None:
        heapq.heappush(self._due, (self.counts.decisions + delay, next(self._ticket), item))

    def _send_due(self, caller: Caller, *, everything: bool = False) -> None:
        scores: list[_Score] = []
        changes: list[_Change] = []
        with self.lock:
            while self._due and len(scores) < _BATCH and (everything or self._due[0][0] <= self.counts.decisions):
                item = heapq.heappop(self._due)[2]
                if isinstance(item, _Score):
                    scores.append(item)
                else:
                    changes.append(item)
        if scores:
            self._send_scores(caller, scores)
        for change in changes:
            if change.says is None:
                caller.call("DELETE", f"/v1/feedback/{change.feedback_id}")
            else:
                caller.call("PUT", f"/v1/feedback/{change.feedback_id}", change.says)
        with self.lock:
            self.counts.corrected += sum(change.says is not None for change in changes)
            self.counts.retracted += sum(change.says is None for change in changes)

    def _send_scores(self, caller: Caller, scores: list[_Score]) -> None:
        bodies = [{"decision_id": score.decision_id, "judge": JUDGE, **score.says} for score in scores]
        if len(bodies) == 1:
            results = [caller.call("POST", "/v1/feedback", bodies[0])]
        else:
            results = caller.call("POST", "/v1/feedback", bodies)["results"]
        with self.lock:
            for score, result in zip(scores, results, strict=True):
                self.counts.feedback += 1
                self.counts.late += score.delay > 0
                if score.corrected_to is not None:
                    self._later(100, _Change(result["feedback_id"], score.corrected_to))
                elif score.retract:
                    self._later(100, _Change(result["feedback_id"], None))


def _outcome(call: Happened | None) -> dict[str, Any]:
    if call is None:
        return {"status": "cancelled"}
    if call.failed:
        return {"status": "error"}
    told = {
        "latency_s": call.latency_s,
        "ttft_s": call.ttft_s,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": call.cost_usd,
    }
    return {"status": "ok", **{name: value for name, value in told.items() if value is not None}}
