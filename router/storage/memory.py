"""The store without a disk, for the demo and for tests: it keeps every promise but durability."""

import math
import threading
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.decisions import Decision
from router.domain.events import (
    ArrivalEvent,
    Attempt,
    AttemptEvent,
    Committed,
    CostEvent,
    DecisionEvent,
    DecisionRecord,
    Evidence,
    LogEvent,
    Outcome,
    OutcomeEvent,
    Regime,
    RegimeEvent,
    Snapshot,
    Write,
)
from router.domain.keys import ApiKey
from router.domain.lift import ARM, Trial
from router.domain.models import Model
from router.domain.overrides import Override
from router.domain.prices import recosted
from router.domain.set_aside import Omitted, SetAside
from router.domain.stretch import Stretch, stretch_of
from router.domain.tallies import By, Counted, Judged, Tally
from router.errors import RouterError
from router.storage.codec import decision_row, read_decision
from router.storage.cost_rows import CostRevision
from router.storage.ledger import Known, View, apply
from router.storage.memory_tallies import MemoryTallies
from router.storage.revisions import Revision, feedback_entry, feedback_event

SNAPSHOTS_KEPT = 3


class MemoryStore:
    """``router.ports.Store`` in memory. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: list[LogEvent] = []  # the event at index i has seq i + 1
        self._view = View()
        self._decided: list[tuple[Known, Decision]] = []
        self._attempts: dict[int, list[Attempt]] = {}
        self._revisions: dict[int, list[Revision]] = {}
        self._counts = {"decisions": 0, "attempts": 0, "outcomes": 0, "cost_changes": 0, "feedback": 0}
        self._arrived: set[str] = set()
        self._models: dict[str, list[tuple[float, Model]]] = {}
        self._snapshots: list[Snapshot] = []
        self._keys: dict[str, ApiKey] = {}
        self._drawn: dict[tuple[str, int], int] = {}
        self._allowances: dict[tuple[str, int], int] = {}
        self._overrides: list[Override] = []
        self._set_aside: dict[int, SetAside] = {}
        self._tallies = MemoryTallies()
        self._runs: dict[str, BatteryRun] = {}
        self._cells: dict[str, list[BatteryCell]] = {}

    def commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        kept = [_as_stored(write) if isinstance(write, Decision) else write for write in writes]
        with self._lock:
            results, added = apply(self._view, len(self._log), kept)
            events: list[LogEvent] = [DecisionEvent(seq, decision) for seq, decision in added.decisions]
            for _, decision in added.decisions:
                self._decided.append((self._view.decisions[decision.id], decision))
            for seq, known, attempt in added.attempts:
                self._attempts.setdefault(known.seq, []).append(attempt)
                events.append(AttemptEvent(seq, known.seq, attempt))
            for seq, known, outcome in added.outcomes:
                decision = _whole(known)
                events.append(
                    OutcomeEvent(
                        seq=seq,
                        decision_seq=known.seq,
                        task_type=decision.task_type,
                        model=outcome.model or decision.model,
                        features_schema=decision.features_schema,
                        features=decision.features,
                        outcome=outcome,
                    )
                )
            for known, change in added.costs:
                events.append(_cost_event(known, change))
            for known, revision in added.feedback:
                decision = _whole(known)
                self._revisions.setdefault(known.seq, []).append(revision)
                events.append(feedback_event(revision, known.id, decision.task_type, decision.features_schema, decision.features))
            events += [RegimeEvent(seq, regime) for seq, regime in added.regimes]
            self._log.extend(sorted(events, key=lambda event: event.seq))
            self._counts["decisions"] += len(added.decisions)
            self._counts["attempts"] += len(added.attempts)
            self._counts["outcomes"] += len(added.outcomes)
            self._counts["cost_changes"] += len(added.costs)
            self._counts["feedback"] += len(added.feedback)
        return results

    def read_log(self, after_seq: int, limit: int) -> list[LogEvent]:
        with self._lock:
            return self._log[after_seq : after_seq + limit]

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]:
        with self._lock:
            covered = self._log[after_seq : after_seq + limit]
            omitted = Omitted(self._set_aside.values())
            return omitted.kept(event for event in covered if not isinstance(event, DecisionEvent)), after_seq + len(covered)

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]:
        events, reached = self.read_evidence(after_seq, max(0, upto - after_seq))
        return stretch_of(events, trusted), reached

    def set_aside(self, record: SetAside) -> None:
        with self._lock:
            self._set_aside.setdefault(record.seq, record)

    def all_set_aside(self) -> list[SetAside]:
        with self._lock:
            return [record for _, record in sorted(self._set_aside.items())]

    def clear_set_aside(self) -> int:
        with self._lock:
            first, many = min(self._set_aside, default=0), len(self._set_aside)
            if many:
                self._snapshots = [kept for kept in self._snapshots if kept.seq < first]
            self._set_aside.clear()
            return many

    def last_seq(self) -> int:
        with self._lock:
            return len(self._log)

    def regime(self, catalog_version: str, policy_version: str) -> Regime | None:
        wanted = catalog_version, policy_version
        return next((e.regime for e in self._regimes() if (e.regime.catalog_version, e.regime.policy_version) == wanted), None)

    def regime_at(self, seq: int) -> Regime | None:
        return next((event.regime for event in self._regimes() if event.seq <= seq), None)

    def _regimes(self) -> list[RegimeEvent]:
        """Newest first."""
        with self._lock:
            return [event for event in reversed(self._log) if isinstance(event, RegimeEvent)]

    def decision(self, decision_id: str) -> DecisionRecord | None:
        with self._lock:
            known = self._view.decisions.get(decision_id)
            return None if known is None else self._record(known, _whole(known))

    def decisions(
        self,
        *,
        before_seq: int | None = None,
        limit: int = 100,
        task_type: str | None = None,
        model: str | None = None,
        episode_id: str | None = None,
    ) -> list[DecisionRecord]:
        with self._lock:
            wanted = (
                self._record(known, decision)
                for known, decision in reversed(self._decided)
                if (before_seq is None or known.seq < before_seq)
                and task_type in (None, decision.task_type)
                and model in (None, decision.model)
                and (episode_id is None or episode_id == decision.episode_id)
            )
            return list(islice(wanted, limit))

    def trials(self, *, before_seq: int | None = None, limit: int = 100, task_type: str | None = None) -> list[Trial]:
        return [_trial(record) for record in self.decisions(before_seq=before_seq, limit=limit, task_type=task_type)]

    def _record(self, known: Known, decision: Decision) -> DecisionRecord:
        return DecisionRecord(
            seq=known.seq,
            decision=decision,
            outcome=_ended(known),
            feedback=tuple(feedback_entry(revision) for revision in self._revisions.get(known.seq, ())),
            attempts=tuple(self._attempts.get(known.seq, ())),
        )

    def models(self) -> list[Model]:
        with self._lock:
            return [versions[-1][1] for _, versions in sorted(self._models.items())]

    def save_model(self, model: Model, at: float) -> None:
        with self._lock:
            self._models.setdefault(model.id, []).append((at, model))
            self._announce([model.id])

    def announce(self, model_ids: Sequence[str], at: float) -> None:  # noqa: ARG002 - nobody reads the time from memory
        with self._lock:
            self._announce(model_ids)

    def _announce(self, model_ids: Sequence[str]) -> None:
        begun = bool(self._arrived)
        for model_id in model_ids:
            if model_id not in self._arrived:
                self._arrived.add(model_id)
                if begun:
                    self._log.append(ArrivalEvent(len(self._log) + 1, model_id))

    def model_versions(self, model_id: str) -> list[tuple[float, Model]]:
        with self._lock:
            return list(self._models.get(model_id, ()))

    def keys(self) -> list[ApiKey]:
        with self._lock:
            return list(self._keys.values())

    def save_key(self, key: ApiKey) -> None:
        with self._lock:
            self._keys[key.id] = key

    def revoke_key(self, key_id: str, at: float) -> None:
        with self._lock:
            if self._keys[key_id].revoked_at is None:
                self._keys[key_id] = replace(self._keys[key_id], revoked_at=at)

    def draw_budget(self, key_id: str, start: int, *, at_least: int, wanted: int, limit: int) -> int:
        with self._lock:
            drawn = self._drawn.get((key_id, start), 0)
            taken = min(wanted, limit - drawn)
            if taken < at_least:
                return 0
            self._drawn[key_id, start] = drawn + taken
            return taken

    def change_drawn(self, key_id: str, start: int, nano_usd: int) -> None:
        with self._lock:
            self._drawn[key_id, start] += nano_usd

    def drawn_budgets(self) -> dict[tuple[str, int], int]:
        with self._lock:
            return dict(self._drawn)

    def draw_allowance(self, name: str, start: int, *, wanted: int, limit: int) -> int:
        with self._lock:
            drawn = self._allowances.get((name, start), 0)
            taken = max(0, min(wanted, limit - drawn))
            self._allowances[name, start] = drawn + taken
            return taken

    def change_allowance(self, name: str, start: int, nano: int) -> None:
        with self._lock:
            self._allowances[name, start] += nano

    def allowances(self, start: int) -> dict[str, int]:
        with self._lock:
            return {name: drawn for (name, begins), drawn in self._allowances.items() if begins == start}

    def add_overrides(self, overrides: Sequence[Override]) -> None:
        with self._lock:
            self._overrides += [replace(one, number=number) for number, one in enumerate(overrides, len(self._overrides) + 1)]

    def overrides(self, after: int) -> list[Override]:
        with self._lock:
            return self._overrides[after:]

    def count_on(self, limit: int) -> int:
        with self._lock:
            before = self._tallies.seq
            events = self._log[before : before + limit]
            self._tallies.count(events, before + len(events), self._decision_at)
            return self._tallies.seq

    def counted(self) -> Counted:
        with self._lock:
            return self._tallies.counted()

    def tallies(self, span_s: int, since: float, by: By, task_type: str | None = None) -> list[Tally]:
        with self._lock:
            return self._tallies.read(span_s, since, by, task_type)

    def judged(self) -> list[Judged]:
        with self._lock:
            return self._tallies.judged()

    def decided_by(self, at: float) -> int:
        with self._lock:
            place = bisect_right(self._decided, at, key=lambda item: item[1].at)
            return self._decided[place - 1][0].seq if place else 0

    def _decision_at(self, seq: int) -> Decision:
        event = self._log[seq - 1]
        if not isinstance(event, DecisionEvent):
            raise AssertionError("what happened to a decision refers to its position")
        return event.decision

    def add_battery_run(self, run: BatteryRun, cells: Sequence[BatteryCell]) -> None:
        with self._lock:
            self._runs[run.id], self._cells[run.id] = run, list(cells)

    def change_battery_run(self, run_id: str, status: RunStatus, ended_at: float | None) -> None:
        with self._lock:
            self._runs[run_id] = replace(self._runs[run_id], status=status, ended_at=ended_at)

    def charge_battery_run(self, run_id: str, usd: float) -> None:
        with self._lock:
            self._runs[run_id] = replace(self._runs[run_id], judge_usd=self._runs[run_id].judge_usd + usd)

    def battery_runs(self) -> list[BatteryRun]:
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: (run.started_at, run.id), reverse=True)

    def battery_cells(self, run_id: str) -> list[BatteryCell]:
        with self._lock:
            return list(self._cells.get(run_id, ()))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._snapshots = [*self._snapshots, snapshot][-SNAPSHOTS_KEPT:]

    def latest_snapshot(self, features_schema: int) -> Snapshot | None:
        with self._lock:
            return next((s for s in reversed(self._snapshots) if s.features_schema == features_schema), None)

    def judging_usd(self, since: float) -> float:
        with self._lock:
            first = (one for many in self._revisions.values() for one in many if one.revision == 1 and one.at >= since)
            return math.fsum(one.cost_usd or 0.0 for one in first)

    def snapshot_before(self, seq: int, features_schema: int) -> Snapshot | None:
        with self._lock:
            return next((s for s in reversed(self._snapshots) if s.features_schema == features_schema and s.seq <= seq), None)

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def check(self) -> None:
        """Memory always answers."""

    def close(self) -> None:
        """Nothing to release."""


def _as_stored(decision: Decision) -> Decision:
    # through the row and back, so that both stores refuse and return the same values, detached from the caller's
    return read_decision(SimpleNamespace(**decision_row(0, decision)))


def _ended(known: Known) -> Outcome | None:
    if known.outcome is None:
        return None
    outcome = known.outcome[1]
    return outcome if known.recost is None else recosted(outcome, known.recost.cost_usd)


def _cost_event(known: Known, change: CostRevision) -> CostEvent:
    decision, outcome = _whole(known), known.outcome
    if outcome is None:
        raise AssertionError("only the cost of an outcome is corrected")
    return CostEvent(
        seq=change.seq,
        decision_seq=known.seq,
        decision_id=known.id,
        task_type=decision.task_type,
        model=outcome[1].model or decision.model,
        features_schema=decision.features_schema,
        features=decision.features,
        status=outcome[1].status,
        before_usd=change.before_usd,
        after_usd=change.cost_usd,
        at=change.at,
    )


def _whole(known: Known) -> Decision:
    if known.decision is None:
        raise AssertionError("every decision in memory is kept whole")
    return known.decision


def _trial(record: DecisionRecord) -> Trial:
    decision, outcome = record.decision, record.outcome
    made = Trial(record.seq, decision.id, decision.at, decision.episode_id, {})
    if ARM not in decision.request:
        return made
    made = replace(made, request=decision.request, feedback=record.feedback, attempts=record.attempts)
    return made if outcome is None else replace(made, status=outcome.status, cost_usd=outcome.cost_usd, latency_s=outcome.latency_s)
