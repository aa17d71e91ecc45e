"""The store on a SQL database. SQLite and PostgreSQL differ in how a group takes its turn and in how rows go in; all else is the same."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.events import Committed, DecisionRecord, Evidence, Group, LogEvent, Regime, Snapshot, Write, group_of
from router.domain.keys import ApiKey
from router.domain.lift import Trial
from router.domain.models import Model
from router.domain.overrides import Override
from router.domain.set_aside import Omitted, SetAside
from router.domain.stretch import Stretch, stretch_of
from router.domain.tallies import By, Counted, Judged, Tally
from router.errors import RouterError, StorageUnavailable
from router.storage import (
    allowance_rows,
    battery_rows,
    codec,
    key_rows,
    override_rows,
    pruning,
    schema,
    set_aside_rows,
    stretches,
    tally_rows,
)
from router.storage.engine import CONNECTIONS, Durability, answering, open_reader, open_writer
from router.storage.event_rows import read_decisions, read_evidence
from router.storage.known_rows import read_view
from router.storage.ledger import apply
from router.storage.record_rows import read_records
from router.storage.regime_rows import REGIME_AT, REGIME_OF, read_regime
from router.storage.tables import RECORDS, arrivals, decisions, feedback, models, snapshots
from router.storage.trial_rows import TRIALS, read_trials
from router.storage.turns import add, turns

SNAPSHOTS_KEPT = 3
SNAPSHOT_FIELDS = ("seq", "features_schema", "digest", "state", "at")


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
            results, added = apply(read_view(connection, writes), head, writes)
            add(self._turns, connection, added)
            if (group := group_of(writes, results)) is not None:
                self._turns.end(connection, group)
        return results

    def read_log(self, after_seq: int, limit: int) -> list[LogEvent]:
        with self._reading() as connection:
            first = self._turns.next_seq(connection, after_seq)
            if first is None:
                return []
            end = first + limit
            events: list[LogEvent] = [*read_decisions(connection, first, end), *read_evidence(connection, first, end, Omitted())]
        events.sort(key=lambda event: event.seq)
        return events

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]:
        with self._reading() as connection:
            head = self._turns.last_seq(connection)
            first = self._turns.next_seq(connection, after_seq)
            if first is None or first > head:
                return [], after_seq
            upto = min(first + limit - 1, head)
            events = list(read_evidence(connection, first, upto + 1, set_aside_rows.omitted(connection)))
        events.sort(key=lambda event: event.seq)
        return events, upto

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]:
        with self._reading() as connection:
            reached = min(upto, self._turns.last_seq(connection))
            if reached <= after_seq:
                return stretch_of((), trusted), after_seq
            omitted = set_aside_rows.omitted(connection)
            stretch = stretches.read_stretch(connection, after_seq + 1, reached + 1, trusted, omitted)
            if stretch is None:
                events = list(read_evidence(connection, after_seq + 1, reached + 1, omitted))
                stretch = stretch_of(sorted(events, key=lambda event: event.seq), trusted)
        return stretch, reached

    def set_aside(self, record: SetAside) -> None:
        with self._writing() as connection:
            self._turns.claim(connection, "set_aside")
            set_aside_rows.add(connection, record)

    def all_set_aside(self) -> list[SetAside]:
        with self._reading() as connection:
            return set_aside_rows.read(connection)

    def clear_set_aside(self) -> int:
        with self._writing() as connection:
            self._turns.claim(connection, "set_aside")
            return set_aside_rows.clear(connection)

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
        with self._reading() as connection:
            found = read_records(connection, select(decisions).where(decisions.c.id == decision_id))
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
        query = _latest(select(decisions), before_seq, limit, task_type=task_type, model=model, episode_id=episode_id)
        with self._reading() as connection:
            return read_records(connection, query)

    def trials(self, *, before_seq: int | None = None, limit: int = 100, task_type: str | None = None) -> list[Trial]:
        query = _latest(TRIALS, before_seq, limit, task_type=task_type)
        with self._reading() as connection:
            return read_trials(connection, query)

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

    def add_overrides(self, overrides: Sequence[Override]) -> None:
        with self._writing() as connection:
            self._turns.claim(connection, "overrides")  # numbers become visible in their order
            override_rows.add(connection, overrides)

    def overrides(self, after: int) -> list[Override]:
        with self._reading() as connection:
            return override_rows.read(connection, after)

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


def _latest(query: Select[Any], before_seq: int | None, limit: int, **only: str | None) -> Select[Any]:
    """The last decisions before a position, the latest first; ``only`` by column, None for any."""
    query = query.order_by(decisions.c.seq.desc()).limit(limit)
    if before_seq is not None:
        query = query.where(decisions.c.seq < before_seq)
    for column, wanted in only.items():
        if wanted is not None:
            query = query.where(decisions.c[column] == wanted)
    return query
