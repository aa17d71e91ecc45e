"""The learned state as it was at any position of the log, recomputed from the log."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from learning import state
from learning.errors import IncompatibleState
from learning.features import SCHEMA_VERSION
from learning.learner import Learner
from learning.posterior import Posterior
from router.domain.events import Evidence, Regime, Snapshot
from router.domain.evidence import fold
from router.domain.offers import facts_of
from router.domain.stretch import Stretch

_PAGE = 2_000
STRETCH = 48_000
"""Positions that are folded at once: what bounds the memory that it takes (about a kilobyte each)."""
FAR = 500
"""Positions from which on that pays: it takes 10 ms before the first, and each then a fifth of what it takes by itself."""


class EvidenceLog(Protocol):
    """The log, as far as the fold reads it."""

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]: ...

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]: ...

    def snapshot_before(self, seq: int, features_schema: int) -> Snapshot | None: ...

    def regime_at(self, seq: int) -> Regime | None: ...


class StretchLog(Protocol):
    """The log, as far as a fold of much at once reads it."""

    def read_stretch(self, after_seq: int, upto: int, trusted: Collection[str]) -> tuple[Stretch, int]: ...


def fold_on(log: StretchLog, learner: Learner, upto: int, trusted: Collection[str], tell: Callable[[int], None] | None = None) -> None:
    """Fold the log up to a position, or to its end where it ends before; ``tell`` hears of every position reached.

    A thread reads the next stretch while one is folded.
    """

    def read(after: int) -> tuple[Stretch, int]:
        return log.read_stretch(after, min(upto, after + STRETCH), trusted)

    with ThreadPoolExecutor(1, "read-log") as reader:
        reading = reader.submit(read, learner.seq)
        while learner.seq < upto:
            stretch, reached = reading.result()
            if reached == learner.seq:
                return
            if reached < upto:
                reading = reader.submit(read, reached)
            stretch.fold_into(learner)
            learner.advance(reached)
            if tell is not None:
                tell(reached)


class Refold:
    """Folds the log forward, from the newest snapshot that is old enough. Going back starts over."""

    def __init__(self, log: EvidenceLog, half_life_records: float, trusted_judges: Sequence[str] = ()) -> None:
        self._log = log
        self._half_life = half_life_records
        self._trusted = tuple(trusted_judges)
        self._learner: Learner | None = None
        self._read: list[Evidence] = []
        """Read and not folded yet, the next one last."""
        self._read_to = 0

    def at(self, seq: int) -> Learner:
        """The learner after the events up to and including ``seq``."""
        if self._learner is None or self._learner.seq > seq:
            self._learner = self._start(seq)
            self._read, self._read_to = [], self._learner.seq
        learner = self._learner
        if seq - learner.seq > FAR:
            fold_on(self._log, learner, seq, self._trusted)
            self._read, self._read_to = [], learner.seq
        while learner.seq < seq:
            if not self._read and self._read_to < seq:
                events, self._read_to = self._log.read_evidence(self._read_to, _PAGE)
                self._read = events[::-1]
                if not events and self._read_to < seq and self._log.read_evidence(self._read_to, 1)[1] == self._read_to:
                    break  # the log ends before
            while self._read and self._read[-1].seq <= seq:
                fold(learner, self._read.pop())
            if self._read or self._read_to >= seq:
                learner.advance(seq)
        return learner

    def ahead(self, seq: int) -> int:
        """Log positions to go to ``seq``, from where it would start."""
        if self._learner is not None and self._learner.seq <= seq:
            return seq - self._learner.seq
        snapshot = self._log.snapshot_before(seq, SCHEMA_VERSION)
        return seq if snapshot is None else seq - snapshot.seq

    def posterior(self, seq: int, *, intervals: bool = True) -> Posterior:
        """What was believed at ``seq``: what a decision that names it as its ``policy_seq`` was taken from.

        Without ``intervals`` those of quality are of an earlier position; a decision reads them only under a floor of quality.
        """
        return self.at(seq).posterior(intervals=intervals)

    def _start(self, seq: int) -> Learner:
        snapshot = self._log.snapshot_before(seq, SCHEMA_VERSION)
        regime = None if snapshot is None else self._log.regime_at(snapshot.seq)
        if snapshot is not None and regime is not None:
            try:
                learner = state.load(snapshot.state, facts_of(regime.models))
            except IncompatibleState:  # the log is the truth: it is folded from its start
                return Learner(self._half_life, trusted=self._trusted)
            if learner.folds_by(self._half_life, self._trusted):
                return learner
        return Learner(self._half_life, trusted=self._trusted)
