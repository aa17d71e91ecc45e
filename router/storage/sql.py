"""The store on a SQL database. SQLite and PostgreSQL differ in how a group takes its turn and in how rows go in; all else is the same."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.decisions import Decision
from router.domain.events import (
    ArrivalEvent,
    Attempt,
    AttemptEvent,
    Committed,
    CostChange,
    DecisionEvent,
    DecisionRecord,
    Evidence,
    Feedback,
    FeedbackChange,
    Group,
    LogEvent,
    Outcome,
    OutcomeEvent,
    Regime,
    Snapshot,
    Write,
    group_of,
)
from router.domain.keys import ApiKey
from router.domain.models import Model
from router.domain.prices import recosted
from router.domain.stretch import Stretch, stretch_of
from router.domain.tallies import By, Counted, Judged, Tally
from router.errors import RouterError, StorageUnavailable
from router.storage import allowance_rows, battery_rows, codec, key_rows, pruning, schema, stretches, tally_rows
from router.storage.cost_rows import COST_EVENTS, COSTS_OF, read_cost, read_cost_event
from router.storage.engine import CONNECTIONS, Durability, answering, open_reader, open_writer
from router.storage.keyed import Keyed, matching
from router.storage.ledger import Known, View, apply
from router.storage.regime_rows import REGIME_AT, REGIME_EVENTS, REGIME_OF, read_regime, read_regime_event
from router.storage.revisions import feedback_entry, feedback_event
from router.storage.tables import RECORDS, arrivals, attempts, decisions, feedback, models, outcomes, snapshots
from router.storage.turns import add, turns

SNAPSHOTS_KEPT = 3
SNAPSHOT_FIELDS = ("seq", "features_schema", "digest", "state", "at")
KEYS_PER_QUERY = 10_000
"""Databases bound the parameters of one statement: SQLite to 32,766, PostgreSQL to 65,535."""

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")

_brief = select(decisions.c.id, decisions.c.seq, decisions.c.model)
DECISIONS_BY_ID = Keyed(_brief, decisions.c.id)
DECISIONS_BY_SEQ = Keyed(_brief, decisions.c.seq)
WHOLE_DECISIONS_BY_ID = Keyed(select(decisions), decisions.c.id)
OUTCOMES_OF = Keyed(select(outcomes), outcomes.c.decision_seq)
ATTEMPT_NUMBERS = Keyed(select(attempts.c.decision_seq, attempts.c.number, attempts.c.seq), attempts.c.decision_seq)
ATTEMPTS_OF = Keyed(select(attempts).order_by(attempts.c.seq), attempts.c.decision_seq)
FEEDBACK_OF = Keyed(select(feedback).order_by(feedback.c.seq), feedback.c.decision_seq)
FEEDBACK_BY_ID = Keyed(select(feedback.c.decision_seq).where(feedback.c.revision == 1), feedback.c.feedback_id)
FEEDBACK_BY_KEY = Keyed(select(feedback), feedback.c.idempotency_key)

DECISION_EVENTS = select(decisions).where(decisions.c.seq >= _first, decisions.c.seq < _end)
ARRIVAL_EVENTS = select(arrivals).where(arrivals.c.seq >= _first, arrivals.c.seq < _end)
_folded = (decisions.c.id.label("decision_id"), decisions.c.task_type, decisions.c.features_schema, decisions.c.features)
ATTEMPT_EVENTS = (
    select(attempts, decisions.c.id.label("decision_id"))
    .join_from(attempts, decisions, attempts.c.decision_seq == decisions.c.seq)
    .where(attempts.c.seq >= _first, attempts.c.seq < _end)
)
OUTCOME_EVENTS = (
    select(outcomes, *_folded, decisions.c.model.label("decided_model"))
    .join_from(outcomes, decisions, outcomes.c.decision_seq == decisions.c.seq)
    .where(outcomes.c.seq >= _first, outcomes.c.seq < _end)
)
FEEDBACK_EVENTS = (
    select(feedback, *_folded)
    .join_from(feedback, decisions, feedback.c.decision_seq == decisions.c.seq)
    .where(feedback.c.seq >= _first, feedback.c.seq < _end)
)


class SqlStore:
    """``router.ports.Store`` on a database file or server. Safe to call from any thread; reads never wait for the writer.

    ``durability``: "full" survives a power loss, "normal" a killed process. ``connections``: at most so many to a server.
    """

    def __init__(self, url: str, durability: Durability = "full", *, connections: int = CONNECTIONS) -> None:
        self._writer = open_writer(url, durability)
        self._reader = open_reader(url, connections)
        self._turns = turns(self._writer.dialect)
        self._lock = threading.Lock()
        self._closed = False
        self._checked = False

    def commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        with answering():
            try:
                return self._commit(writes)
            except DBAPIError as exc:
                if not exc.connection_invalidated:
                    raise
            # The connection was lost, perhaps after the commit: what is in the log already is then a repeat, not a second row.
            return self._commit(writes)

    def _commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        with self._transaction() as connection:
            head = self._turns.begin(connection, len(writes))
            results, added = apply(_view(connection, writes), head, writes)
            add(self._turns, connection, added)
            if (group := group_of(writes, results)) is not None:
                self._turns.end(connection, group)
        return results

    def read_log(self, after_seq: int, limit: int) -> list[LogEvent]:
        with self._reading() as connection:
            first = self._turns.next_seq(connection, after_seq)
            if first is None:
                return []
            span = {"first": first, "end": first + limit}
            events: list[LogEvent] = [
                *(DecisionEvent(row.seq, codec.read_decision(row)) for row in connection.execute(DECISION_EVENTS, span)),
                *_evidence(connection, span),
            ]
        events.sort(key=lambda event: event.seq)
        return events

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]:
        with self._reading() as connection:
            head = self._turns.last_seq(connection)
            first = self._turns.next_seq(connection, after_seq)
            if first is None or first > head:
                return [], after_seq
            upto = min(first + limit - 1, head)
            events = list(_evidence(connection, {"first": first, "end": upto + 1}))
        events.sort(key=lambda event: event.seq)
        return events, upto

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]:
        with self._reading() as connection:
            reached = min(upto, self._turns.last_seq(connection))
            if reached <= after_seq:
                return stretch_of((), trusted), after_seq
            stretch = stretches.read_stretch(connection, after_seq + 1, reached + 1, trusted)
            if stretch is None:
                events = list(_evidence(connection, {"first": after_seq + 1, "end": reached + 1}))
                stretch = stretch_of(sorted(events, key=lambda event: event.seq), trusted)
        return stretch, reached

    def last_seq(self) -> int:
        with self._reading() as connection:
            return self._turns.last_seq(connection)

    def regime(self, catalog_version: str, policy_version: str) -> Regime | None:
        with self._reading() as connection:
            row = connection.execute(REGIME_OF, {"catalog": catalog_version, "policy": policy_version}).first()
        return None if row is None else read_regime(row)

    def regime_at(self, seq: int) -> Regime | None:
        with self._reading() as connection:
            row = connection.execute(REGIME_AT, {"upto": seq}).first()
        return None if row is None else read_regime(row)

    def decision(self, decision_id: str) -> DecisionRecord | None:
        found = self._records(select(decisions).where(decisions.c.id == decision_id))
        return found[0] if found else None

    def decisions(
        self,
        *,
        before_seq: int | None = None,
        limit: int = 100,
        task_type: str | None = None,
        model: str | None = None,
        episode_id: str | None = None,
    ) -> list[DecisionRecord]:
        query = select(decisions).order_by(decisions.c.seq.desc()).limit(limit)
        if before_seq is not None:
            query = query.where(decisions.c.seq < before_seq)
        for column, wanted in ((decisions.c.task_type, task_type), (decisions.c.model, model), (decisions.c.episode_id, episode_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        return self._records(query)

    def _records(self, query: Select[Any]) -> list[DecisionRecord]:
        with self._reading() as connection:
            rows = connection.execute(query).all()
            seqs = [row.seq for row in rows]
            ended = {row.decision_seq: row for row in matching(connection, OUTCOMES_OF, seqs)}
            costs = {row.decision_seq: row.cost_usd for row in matching(connection, COSTS_OF, seqs)}  # the latest comes last
            tried: dict[int, list[Attempt]] = {}
            ids = {row.seq: row.id for row in rows}
            for row in matching(connection, ATTEMPTS_OF, seqs):
                tried.setdefault(row.decision_seq, []).append(codec.read_attempt(row, ids[row.decision_seq]))
            scored: dict[int, list[dict[str, Any]]] = {}
            for row in matching(connection, FEEDBACK_OF, seqs):
                scored.setdefault(row.decision_seq, []).append(feedback_entry(codec.read_revision(row)))
        return [
            DecisionRecord(
                seq=row.seq,
                decision=codec.read_decision(row),
                outcome=_ended(ended[row.seq], row.id, costs) if row.seq in ended else None,
                feedback=tuple(scored.get(row.seq, ())),
                attempts=tuple(tried.get(row.seq, ())),
            )
            for row in rows
        ]

    def models(self) -> list[Model]:
        latest = select(func.max(models.c.id)).group_by(models.c.model_id)
        with self._reading() as connection:
            rows = connection.execute(select(models.c.facts).where(models.c.id.in_(latest)).order_by(models.c.model_id)).all()
        return [codec.read_model(row.facts) for row in rows]

    def save_model(self, model: Model, at: float) -> None:
        with self._writing() as connection:
            connection.execute(insert(models), {"model_id": model.id, "at": at, "facts": codec.model_facts(model)})
            self._announce(connection, [model.id], at)
            self._turns.tell_catalogue(connection)

    def announce(self, model_ids: Sequence[str], at: float) -> None:
        with self._reading() as connection:
            known = set(connection.execute(select(arrivals.c.model_id)).scalars())
        if known.issuperset(model_ids):
            return
        with self._writing() as connection:
            self._announce(connection, model_ids, at)

    def _announce(self, connection: Connection, model_ids: Sequence[str], at: float) -> None:
        head = self._turns.begin(connection, len(model_ids))
        known = set(connection.execute(select(arrivals.c.model_id)).scalars())
        new = [model_id for model_id in dict.fromkeys(model_ids) if model_id not in known]
        if not new:
            return
        first = head + 1 if known else 0
        rows = [{"model_id": model_id, "seq": first + i if known else 0, "at": at} for i, model_id in enumerate(new)]
        connection.execute(insert(arrivals), rows)
        if known:
            self._turns.end(connection, Group(first, head + len(new), evidence=True))

    def model_versions(self, model_id: str) -> list[tuple[float, Model]]:
        with self._reading() as connection:
            rows = connection.execute(select(models.c.at, models.c.facts).where(models.c.model_id == model_id).order_by(models.c.id)).all()
        return [(row.at, codec.read_model(row.facts)) for row in rows]

    def keys(self) -> list[ApiKey]:
        with self._reading() as connection:
            return key_rows.read_keys(connection)

    def save_key(self, key: ApiKey) -> None:
        with self._writing() as connection:
            key_rows.add_key(connection, key)

    def revoke_key(self, key_id: str, at: float) -> None:
        with self._writing() as connection:
            key_rows.revoke(connection, key_id, at)

    def draw_budget(self, key_id: str, start: int, *, at_least: int, wanted: int, limit: int) -> int:
        with self._writing() as connection:
            return key_rows.draw(connection, key_id, start, at_least=at_least, wanted=wanted, limit=limit)

    def change_drawn(self, key_id: str, start: int, nano_usd: int) -> None:
        with self._writing() as connection:
            key_rows.change_drawn(connection, key_id, start, nano_usd)

    def drawn_budgets(self) -> dict[tuple[str, int], int]:
        with self._reading() as connection:
            return key_rows.read_drawn(connection)

    def draw_allowance(self, name: str, start: int, *, wanted: int, limit: int) -> int:
        with self._writing() as connection:
            return allowance_rows.draw(connection, name, start, wanted, limit)

    def change_allowance(self, name: str, start: int, nano: int) -> None:
        with self._writing() as connection:
            allowance_rows.change(connection, name, start, nano)

    def allowances(self, start: int) -> dict[str, int]:
        with self._reading() as connection:
            return allowance_rows.read(connection, start)

    def count_on(self, limit: int) -> int:
        with self._reading() as connection:
            before, head = tally_rows.counted_seq(connection), self._turns.last_seq(connection)
            upto = min(before + limit, head)
            if upto <= before:
                return before
            found = tally_rows.grouped(connection, before + 1, upto + 1)
        with self._writing() as connection:  # short: what waits for it is the log
            self._turns.claim(connection, "tallies")
            return upto if tally_rows.add(connection, before, upto, found) else tally_rows.counted_seq(connection)

    def counted(self) -> Counted:
        with self._reading() as connection:
            return tally_rows.read_counted(connection)

    def tallies(self, span_s: int, since: float, by: By, task_type: str | None = None) -> list[Tally]:
        with self._reading() as connection:
            return tally_rows.read(connection, span_s, since, by, task_type)

    def judged(self) -> list[Judged]:
        with self._reading() as connection:
            return tally_rows.read_judged(connection)

    def decided_by(self, at: float) -> int:
        with self._reading() as connection:
            return tally_rows.decided_by(connection, at)

    def add_battery_run(self, run: BatteryRun, cells: Sequence[BatteryCell]) -> None:
        with self._writing() as connection:
            battery_rows.add(connection, run, cells)

    def change_battery_run(self, run_id: str, status: RunStatus, ended_at: float | None) -> None:
        with self._writing() as connection:
            battery_rows.change(connection, run_id, status, ended_at)

    def charge_battery_run(self, run_id: str, usd: float) -> None:
        with self._writing() as connection:
            battery_rows.charge(connection, run_id, usd)

    def battery_runs(self) -> list[BatteryRun]:
        with self._reading() as connection:
            return battery_rows.read_runs(connection)

    def battery_cells(self, run_id: str) -> list[BatteryCell]:
        with self._reading() as connection:
            return battery_rows.read_cells(connection, run_id)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        values = {name: getattr(snapshot, name) for name in SNAPSHOT_FIELDS}
        kept = select(snapshots.c.id).order_by(snapshots.c.id.desc()).limit(SNAPSHOTS_KEPT)
        with self._writing() as connection:
            connection.execute(insert(snapshots), values)
            connection.execute(delete(snapshots).where(snapshots.c.id.not_in(kept)))

    def latest_snapshot(self, features_schema: int) -> Snapshot | None:
        return self._snapshot(features_schema)

    def snapshot_before(self, seq: int, features_schema: int) -> Snapshot | None:
        return self._snapshot(features_schema, snapshots.c.seq <= seq)

    def _snapshot(self, features_schema: int, *which: ColumnElement[bool]) -> Snapshot | None:
        query = select(snapshots).where(snapshots.c.features_schema == features_schema, *which).order_by(snapshots.c.id.desc()).limit(1)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Snapshot(**{name: getattr(row, name) for name in SNAPSHOT_FIELDS})

    def judging_usd(self, since: float) -> float:
        paid = (feedback.c.at >= since) & (feedback.c.revision == 1) & feedback.c.cost_usd.is_not(None)
        with self._reading() as connection:
            return float(connection.execute(select(func.sum(feedback.c.cost_usd)).where(paid)).scalar() or 0.0)

    def counts(self) -> dict[str, int]:
        query = select(*[select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in RECORDS])
        with self._reading() as connection:
            return dict(connection.execute(query).one()._mapping)

    def prune(self, before: float, after_seq: int, many: int) -> tuple[int, int | None]:
        """Remove up to ``many`` decisions taken before a time, after a position; how many went, and where to go on, None at the end."""
        with self._reading() as connection:
            upto, settled = pruning.horizon(connection, before)
        if upto <= after_seq:
            return 0, None
        with self._writing() as connection:
            removed, following = pruning.remove(connection, after_seq, upto, settled, many)
            if following is None:
                self._turns.drop_parts(connection, upto)
        return removed, following

    def check(self) -> None:
        with self._reading() as connection:
            connection.execute(text("SELECT 1"))
        if self._checked:
            return  # a newer release may migrate under a running service: migrations only add until nobody needs the old
        if not schema.revision_of(self._reader).ready:
            raise StorageUnavailable("the database has not been migrated to this release", remedy="run 'pointsman db upgrade'")
        self._checked = True

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._reader.dispose()
            self._writer.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with answering(), self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._lock:
            self._refuse_closed()
            with self._writer.begin() as connection:
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._refuse_closed()
        with answering(), self._reader.connect() as connection:
            try:
                yield connection
            finally:
                if self._closed:  # meanwhile: the pool that it would go back to is gone
                    connection.invalidate()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageUnavailable("the store is closed", remedy="start the service again")


def _evidence(connection: Connection, span: dict[str, int]) -> Iterator[Evidence]:
    for row in connection.execute(ATTEMPT_EVENTS, span):
        yield AttemptEvent(row.seq, row.decision_seq, codec.read_attempt(row, row.decision_id))
    for row in connection.execute(OUTCOME_EVENTS, span):
        yield _outcome_event(row)
    for row in connection.execute(COST_EVENTS, span):
        yield read_cost_event(row)
    for row in connection.execute(ARRIVAL_EVENTS, span):
        yield ArrivalEvent(row.seq, row.model_id)
    for row in connection.execute(FEEDBACK_EVENTS, span):
        yield feedback_event(codec.read_revision(row), row.decision_id, row.task_type, row.features_schema, row.features)
    for row in connection.execute(REGIME_EVENTS, span):
        yield read_regime_event(row)


def _view(connection: Connection, writes: Sequence[Write]) -> View:
    """Read what the group refers to: a fixed number of queries, however large the group."""
    made, named, feedback_ids, keys = _references(writes)
    view = View()
    by_seq: dict[int, Known] = {}

    def know(row: Any, decision: Decision | None = None) -> None:
        if row.id not in view.decisions:
            by_seq[row.seq] = view.decisions[row.id] = Known(row.seq, row.id, row.model, decision)

    for row in matching(connection, WHOLE_DECISIONS_BY_ID, made):
        know(row, codec.read_decision(row))
    for row in matching(connection, DECISIONS_BY_ID, named):
        know(row)
    keyed = [codec.read_revision(row) for row in matching(connection, FEEDBACK_BY_KEY, keys)]
    pointed = {row.decision_seq for row in matching(connection, FEEDBACK_BY_ID, feedback_ids)} | {r.decision_seq for r in keyed}
    for row in matching(connection, DECISIONS_BY_SEQ, sorted(pointed - by_seq.keys())):
        know(row)
    if not (named or pointed):
        return view
    for row in matching(connection, OUTCOMES_OF, list(by_seq)):
        known = by_seq[row.decision_seq]
        known.outcome = (row.seq, codec.read_outcome(row, known.id))
    if any(isinstance(write, CostChange) for write in writes):
        for row in matching(connection, COSTS_OF, list(by_seq)):
            by_seq[row.decision_seq].recost = read_cost(row)
    if any(isinstance(write, Attempt) for write in writes):
        for row in matching(connection, ATTEMPT_NUMBERS, list(by_seq)):
            by_seq[row.decision_seq].attempts[row.number] = row.seq
    if not (feedback_ids or keys):
        return view  # what is known of scores concerns further scores only
    for row in matching(connection, FEEDBACK_OF, list(by_seq)):
        revision, known = codec.read_revision(row), by_seq[row.decision_seq]
        known.scores[(revision.judge, revision.metric)] = revision
        view.feedback[revision.feedback_id] = (known, (revision.judge, revision.metric))
    for revision in keyed:
        if revision.idempotency_key is not None:
            view.keys[revision.source, revision.idempotency_key] = (by_seq[revision.decision_seq], revision)
    return view


def _references(writes: Sequence[Write]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Ids of decisions written, of decisions referred to, of feedback; idempotency keys. Each once."""
    made: dict[str, None] = {}
    named: dict[str, None] = {}
    feedback_ids: dict[str, None] = {}
    keys: dict[str, None] = {}
    for write in writes:
        match write:
            case Decision(id=id):
                made[id] = None
            case Attempt(decision_id=decision_id) | Outcome(decision_id=decision_id) | CostChange(decision_id=decision_id):
                named[decision_id] = None
            case Feedback(id=id, decision_id=decision_id, idempotency_key=key):
                named[decision_id] = None
                feedback_ids[id] = None
                if key is not None:
                    keys[key] = None
            case FeedbackChange(id=id):
                feedback_ids[id] = None
    return list(made), list(named), list(feedback_ids), list(keys)


def _ended(row: Any, decision_id: str, costs: dict[int, float | None]) -> Outcome:
    outcome = codec.read_outcome(row, decision_id)
    return recosted(outcome, costs[row.decision_seq]) if row.decision_seq in costs else outcome


def _outcome_event(row: Any) -> OutcomeEvent:
    return OutcomeEvent(
        seq=row.seq,
        decision_seq=row.decision_seq,
        task_type=row.task_type,
        model=row.model or row.decided_model,
        features_schema=row.features_schema,
        features=row.features,
        outcome=codec.read_outcome(row, row.decision_id),
    )
