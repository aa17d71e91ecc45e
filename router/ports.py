"""The seams to the outside: the store behind the log. Everything here is synchronous; the writer thread owns it."""

from collections.abc import Collection, Sequence
from typing import Protocol

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.events import Committed, DecisionRecord, Evidence, LogEvent, Regime, Snapshot, Write
from router.domain.keys import ApiKey
from router.domain.lift import Trial
from router.domain.models import Model
from router.domain.overrides import Override
from router.domain.set_aside import SetAside
from router.domain.stretch import Stretch
from router.domain.tallies import By, Counted, Judged, Tally
from router.errors import RouterError


class KeyStore(Protocol):
    """API keys and what was drawn of their budgets; money in whole billionths of a dollar.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def keys(self) -> list[ApiKey]:
        """Every key, revoked and expired ones included, the oldest first."""
        ...

    def save_key(self, key: ApiKey) -> None: ...

    def revoke_key(self, key_id: str, at: float) -> None:
        """Revoke a key of the store; the first time counts."""
        ...

    def draw_budget(self, key_id: str, start: int, *, at_least: int, wanted: int, limit: int) -> int:
        """Take ``wanted`` of what the period that begins at Unix time ``start`` has left of ``limit``, in one transaction.

        Less where less is left, and 0 where that is below ``at_least``.
        """
        ...

    def change_drawn(self, key_id: str, start: int, nano_usd: int) -> None:
        """Add to what was drawn from a period before, or (below zero) put back."""
        ...

    def drawn_budgets(self) -> dict[tuple[str, int], int]:
        """What was drawn, by key id and start of the period."""
        ...


class AllowanceStore(Protocol):
    """What was drawn of allowances that all services on the log share, by name and Unix time of a period's first second, in billionths.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def draw_allowance(self, name: str, start: int, *, wanted: int, limit: int) -> int:
        """Take ``wanted`` of what is left of ``limit``, or what is left, in one transaction."""
        ...

    def change_allowance(self, name: str, start: int, nano: int) -> None:
        """Add to what was drawn before, or (below zero) put back."""
        ...

    def allowances(self, start: int) -> dict[str, int]:
        """What was drawn in a period, by name."""
        ...


class OverrideStore(Protocol):
    """What operators set while services run; only ever added to.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def add_overrides(self, overrides: Sequence[Override]) -> None:
        """Keep them together, numbered on in their order."""
        ...

    def overrides(self, after: int) -> list[Override]:
        """Those numbered above ``after``, in their order; none is ever kept later with a lower number."""
        ...


class TallyStore(Protocol):
    """Counts of the log, kept beside it so that no report reads the log itself.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def count_on(self, limit: int) -> int:
        """Count at most ``limit`` further positions of the log; the position up to which it is counted then.

        Every position is counted once, whichever processes do so at the same time.
        """
        ...

    def counted(self) -> Counted: ...

    def tallies(self, span_s: int, since: float, by: By, task_type: str | None = None) -> list[Tally]:
        """Lines by (period, model) or (task type, model) over the periods of one of ``SPANS`` that end after Unix time ``since``."""
        ...

    def judged(self) -> list[Judged]:
        """By judge, metric and model, of everything counted."""
        ...

    def decided_by(self, at: float) -> int:
        """Log position of the latest decision taken by Unix time ``at``, to within those committed in the same moment; 0 for none."""
        ...


class BatteryStore(Protocol):
    """Runs of test batteries; their calls are in the log.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def add_battery_run(self, run: BatteryRun, cells: Sequence[BatteryCell]) -> None: ...

    def change_battery_run(self, run_id: str, status: RunStatus, ended_at: float | None) -> None: ...

    def charge_battery_run(self, run_id: str, usd: float) -> None:
        """Add to what the run's judges cost."""
        ...

    def battery_runs(self) -> list[BatteryRun]:
        """The newest first."""
        ...

    def battery_cells(self, run_id: str) -> list[BatteryCell]:
        """In the run's order; empty for a run that is not known."""
        ...


class Store(KeyStore, AllowanceStore, OverrideStore, TallyStore, BatteryStore, Protocol):
    """Durable log, catalogue changes and snapshots. Implementations: storage.sql.SqlStore, storage.memory.MemoryStore.

    Raises ``StorageUnavailable`` where the database does not answer.
    """

    def commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        """Write a group in one transaction, in order, and return when it is durable.

        Each write gets its own result; a refused one (DecisionNotFound, FeedbackNotFound, FeedbackConflict, OutcomeConflict) does
        not stop the others. Writes may refer to earlier writes of the same group.
        Feedback: the same natural key (or the same idempotency key of the same source) with the same decision, judge, metric, score and
        weight is a repeat; with anything else it is a FeedbackConflict whose remedy names the feedback id to PUT. Retracted feedback can
        be scored again (a new revision of the same id). A FeedbackChange to what already holds is a repeat.
        """
        ...

    def read_log(self, after_seq: int, limit: int) -> list[LogEvent]:
        """Events with seq > after_seq in seq order, at most ``limit``."""
        ...

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]:
        """What the fold needs: the events of ``read_log`` without the decisions (most of the bytes, and no evidence).

        Covers at most ``limit`` positions and returns the last position covered, ``after_seq`` where the log ends there.
        """
        ...

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]:
        """What the fold needs of the positions after one, up to another, by column, for a learner that trusts these judges.

        Returns the last position covered too: where the log ends, if that is before.
        """
        ...

    def set_aside(self, record: SetAside) -> None:
        """Leave a record out of ``read_evidence`` and ``read_stretch`` from now on, with what came later about the same decision."""
        ...

    def all_set_aside(self) -> list[SetAside]:
        """In the order of the log."""
        ...

    def clear_set_aside(self) -> int:
        """Leave nothing out any more, and drop the snapshots that were made without it; returns how many records were left out."""
        ...

    def last_seq(self) -> int:
        """The highest committed seq, 0 when the log is empty."""
        ...

    def regime(self, catalog_version: str, policy_version: str) -> Regime | None:
        """The latest with these versions: what a decision that names them was taken by."""
        ...

    def regime_at(self, seq: int) -> Regime | None:
        """The latest at a position of the log."""
        ...

    def decision(self, decision_id: str) -> DecisionRecord | None: ...

    def decisions(
        self,
        *,
        before_seq: int | None = None,
        limit: int = 100,
        task_type: str | None = None,
        model: str | None = None,
        episode_id: str | None = None,
    ) -> list[DecisionRecord]:
        """Newest first."""
        ...

    def trials(self, *, before_seq: int | None = None, limit: int = 100, task_type: str | None = None) -> list[Trial]:
        """What the holdback experiment reads of decisions, newest first; those that took no part in it are among them."""
        ...

    def models(self) -> list[Model]:
        """Models added or changed at runtime, their latest version each (retired ones included)."""
        ...

    def save_model(self, model: Model, at: float) -> None:
        """Append a version of a model; all versions are kept with their time. A model that is new is announced with it."""
        ...

    def announce(self, model_ids: Sequence[str], at: float) -> None:
        """Log the arrival of each model that was not announced before, except that the very first ones were there from the start."""
        ...

    def model_versions(self, model_id: str) -> list[tuple[float, Model]]:
        """Every stored version, oldest first, with the Unix time it was saved."""
        ...

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep the newest three."""
        ...

    def latest_snapshot(self, features_schema: int) -> Snapshot | None: ...

    def judging_usd(self, since: float) -> float:
        """What scores given since a Unix time cost, as far as that is known."""
        ...

    def snapshot_before(self, seq: int, features_schema: int) -> Snapshot | None:
        """The newest that holds nothing after ``seq``."""
        ...

    def counts(self) -> dict[str, int]:
        """Rows per kind: decisions, attempts, outcomes, feedback."""
        ...

    def check(self) -> None:
        """Raise StorageUnavailable or SchemaTooNew where the store cannot be used."""
        ...

    def close(self) -> None: ...
