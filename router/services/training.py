"""Tails the log, folds it into the learner, publishes one immutable posterior and keeps snapshots."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from learning import state
from learning.choice import Offers, Preference
from learning.drift import Incident
from learning.errors import IncompatibleState
from learning.features import SCHEMA_VERSION
from learning.learner import Learner
from learning.posterior import Posterior
from learning.rules import PolicyReport, report
from learning.voices import Voices
from router.domain.catalog import Catalog
from router.domain.events import AttemptEvent, Evidence, Group, LogEvent, News, OutcomeEvent, Snapshot
from router.domain.evidence import fold
from router.domain.incidents import described
from router.domain.offers import facts_of, offers_of
from router.domain.refold import FAR, STRETCH
from router.domain.set_aside import MOST, RecordUnreadable, SetAside, kind_of
from router.domain.stretch import Stretch
from router.domain.tasks import needed_modalities
from router.errors import StorageUnavailable
from router.ports import Store
from router.services.follower import Follower

_PAGE = 2_000
_AT_ONCE = 3_000
"""Positions that are folded at once while others wait for the event loop: some 40 ms."""
_SLICE = 32
"""Events folded before the event loop gets a turn."""
_RETRY_S = 0.5
_TRIES = 3
"""How often a record must fail to be folded before it is left out."""
_GATHER_S = 0.01
"""How long news is gathered before the log is read: a read costs more than a fold."""

log = structlog.get_logger("training")


class TrainingService:
    """Owns the learner. Everything runs on the event loop; the store is read in a thread.

    ``leads``: whether this is the service that keeps the snapshots of those on the log. ``rereads``: a restarted server may have lost
    what was folded already, since commits do not wait for its disk.
    """

    def __init__(
        self,
        store: Store,
        *,
        half_life_records: float,
        trusted_judges: Sequence[str] = (),
        preference: Preference,
        policy: tuple[str, str],
        clock: Callable[[], float],
        snapshot_every: int = 10_000,
        leads: Callable[[], bool] = lambda: True,
        rereads: bool = False,
    ) -> None:
        self._store = store
        self._half_life = half_life_records
        self._trusted = trusted_judges
        self._paid: Callable[[AttemptEvent | OutcomeEvent], None] | None = None
        self._preference = preference
        self._policy = policy
        self._clock = clock
        self._snapshot_every = snapshot_every
        self._leads = leads
        self._rereads = rereads
        self._lost = False
        """Whether the learner does not hold what the log says: the log went back, or a fold broke off."""
        self._singly = False
        """Whether the next fold goes event by event, to find the one that breaks it off."""
        self._folding: Evidence | None = None
        """The event that is being folded."""
        self._failed = (0, 0)
        """The record that broke off the fold last, and how often it did."""
        self._set_aside: Sequence[SetAside] = ()
        self._paid_upto = 0
        self._behind_since: float | None = None
        self._learner = Learner(half_life_records, trusted=trusted_judges)
        self._catalog = Catalog()
        self._published = self._learner.posterior()
        self._committed = 0
        self._digest = (-1, "")
        self._snapshot_seq = 0
        self._told: frozenset[tuple[object, ...]] = frozenset()
        self._news = asyncio.Event()
        self._folded = asyncio.Condition()
        self.follower = Follower("training", self._hear, self._keep_up, retry_s=_RETRY_S)

    @property
    def posterior(self) -> Posterior:
        """What decisions are taken from: immutable, swapped as a whole."""
        return self._published

    @property
    def seq(self) -> int:
        """Log position up to which the published posterior is folded."""
        return self._learner.seq

    @property
    def lag(self) -> int:
        """Committed log records that are not folded yet."""
        return max(0, self._committed - self._learner.seq)

    @property
    def lag_s(self) -> float:
        """For how long this service has been behind the log."""
        return 0.0 if self._behind_since is None else max(0.0, self._clock() - self._behind_since)

    @property
    def digest(self) -> str:
        """Of the learned state at ``seq``: equal for a replay, a restart and every replica."""
        learner = self._learner
        if self._digest[0] != learner.seq:
            self._digest = learner.seq, learner.digest()
        return self._digest[1]

    @property
    def incidents(self) -> Sequence[Incident]:
        """Changes of models that were found, oldest first."""
        return self._learner.incidents

    @property
    def set_aside(self) -> Sequence[SetAside]:
        """Records that could never be folded, as far as this service knows."""
        return self._set_aside

    @property
    def voices(self) -> Voices:
        """What each judge and source has said and is worth."""
        return self._learner.statistics.voices

    def use_catalog(self, catalog: Catalog) -> None:
        """Report on the models of this catalogue. The learner knows them from the log (``Regime``)."""
        self._catalog = catalog

    def tell_paid(self, paid: Callable[[AttemptEvent | OutcomeEvent], None] | None) -> None:
        """Tell this of every call that was paid, from now on; None tells nobody."""
        if self._paid is None:
            self._paid_upto = max(self._paid_upto, self._learner.seq)
        self._paid = paid

    def notify(self, group: Group) -> None:
        """Take note of a commit. One that holds decisions only, next in the log, is folded by moving on."""
        if group.last <= self._committed:
            return
        idle = self._learner.seq == self._committed == group.first - 1
        self._see(group.last)
        if idle and not group.evidence:
            self._learner.advance(group.last)
            self._published = self._learner.posterior()
            self._behind_since = None
        else:
            self._news.set()

    def hear(self, news: News) -> None:
        """Take note of what other services did to the log."""
        if news.group is not None:
            self.notify(news.group)
        elif news.seq > self._committed:
            self._see(news.seq)
            self._news.set()
        elif news.seq < news.folded or (news.restarted and self._rereads):
            self._lost = True
            self._news.set()

    def _see(self, seq: int) -> None:
        if self._learner.seq >= self._committed:
            self._behind_since = self._clock()
        self._committed = seq

    async def start(self) -> None:
        """Restore the newest snapshot, fold what came after it, then follow the log.

        Raises ``StorageUnavailable``.
        """
        self._set_aside = await asyncio.to_thread(self._store.all_set_aside)
        if self._set_aside:
            log.warning("training.records_set_aside", records=len(self._set_aside), first_seq=self._set_aside[0].seq)
        await self._restore(await asyncio.to_thread(self._store.latest_snapshot, SCHEMA_VERSION))
        self._committed = await asyncio.to_thread(self._store.last_seq)
        await self._fold_on()
        self._tell_incidents()  # those of the snapshot are no news
        self._paid_upto = self._learner.seq
        self.follower.start()

    async def close(self) -> None:
        """Fold what is committed, keep a snapshot and stop."""
        await self.follower.close(self._wind_up)

    async def _wind_up(self) -> None:
        await self._fold_on()
        if self._leads():
            await self._snapshot()

    async def settle(self) -> None:
        """Return when everything committed so far is folded and published."""
        target = max(self._committed, await asyncio.to_thread(self._store.last_seq))
        self._committed = target
        self._news.set()
        async with self._folded:
            await self._folded.wait_for(lambda: self._published.seq >= target)

    def report(self, task_type: str | None = None) -> PolicyReport:
        """What is preferred for which task type, and how sure."""
        posterior = self._published

        def offers(task_type: str) -> Offers:
            return offers_of([m for m in self._catalog.active if needed_modalities(task_type) <= m.modalities], posterior)

        name, version = self._policy
        return report(posterior, offers, self._preference, digest=self.digest, policy=name, policy_version=version, task_type=task_type)

    async def _restore(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        regime = await asyncio.to_thread(self._store.regime_at, snapshot.seq)
        if regime is None:
            log.info("training.snapshot_ignored", reason="the log says not what was known of the models then; refolding it")
            return
        try:
            learner = state.load(snapshot.state, facts_of(regime.models))
        except IncompatibleState as exc:
            log.warning("training.snapshot_ignored", reason=str(exc))
            return
        if not learner.folds_by(self._half_life, self._trusted):
            log.info("training.snapshot_ignored", reason="it was folded with another half-life or other trusted judges; refolding the log")
            return
        self._learner = learner
        self._snapshot_seq = learner.seq
        self._published = learner.posterior()

    async def _start_over(self) -> None:
        """Fold anew from the newest snapshot."""
        log.warning("training.folds_anew", seq=self._learner.seq)
        snapshot = await asyncio.to_thread(self._store.latest_snapshot, SCHEMA_VERSION)
        committed = await asyncio.to_thread(self._store.last_seq)
        self._lost = False
        self._learner = Learner(self._half_life, trusted=self._trusted)
        self._snapshot_seq = 0
        await self._restore(snapshot)
        self._committed = committed
        self._paid_upto = min(self._paid_upto, committed)

    async def _hear(self) -> None:
        await self._news.wait()
        await asyncio.sleep(_GATHER_S)
        self._news.clear()

    async def _keep_up(self) -> None:
        await self._fold_on()
        if self._leads() and self._learner.seq - self._snapshot_seq >= self._snapshot_every:
            await self._snapshot()

    async def _fold_on(self) -> None:
        while True:
            if self._lost:
                await self._start_over()
            try:
                await self._catch_up()
                self._singly = False
                return
            except StorageUnavailable:
                raise  # nothing is read by halves
            except Exception as exc:
                self._lost = True  # the learner may hold a part of what was being folded: it is no state of any position
                self._learner = Learner(self._half_life, trusted=self._trusted)
                if not await self._around(exc):
                    raise

    async def _around(self, exc: Exception) -> bool:
        """Whether to go on at once after a fold broke off: event by event, or without the record that did it time and again."""
        if isinstance(exc, RecordUnreadable):
            broken, fault = SetAside(exc.seq, exc.decision_seq, exc.kind, type(exc.__cause__).__name__, self._clock()), exc.__cause__
        elif (event := self._folding) is not None and (kind := kind_of(event)) is not None:
            broken, fault = SetAside(event.seq, event.decision_seq, kind, type(exc).__name__, self._clock()), exc  # type: ignore[union-attr]
        else:
            at_once, self._singly = not self._singly, True
            return at_once
        seq, times = self._failed
        self._failed = broken.seq, times + 1 if seq == broken.seq else 1
        if self._failed[1] < _TRIES or isinstance(fault, MemoryError):
            return not self.follower.running and not isinstance(fault, MemoryError)  # at the start nobody else tries again
        self._set_aside = await asyncio.to_thread(self._store.all_set_aside)
        if len(self._set_aside) >= MOST:
            raise StorageUnavailable(
                f"more than {MOST} records of the log cannot be learned by this release", remedy="run the release that wrote them"
            ) from exc
        await asyncio.to_thread(self._store.set_aside, broken)
        self._set_aside = await asyncio.to_thread(self._store.all_set_aside)
        log.error("training.record_set_aside", seq=broken.seq, kind=broken.kind, decision_seq=broken.decision_seq, exc_info=fault)
        return True

    async def _catch_up(self) -> None:
        self._folding = None
        if not self._singly and self._committed - self._learner.seq > FAR and (self._paid is None or not self.follower.running):
            await self._catch_up_from_far()
        while self._learner.seq < self._committed:
            events, upto = await asyncio.to_thread(self._store.read_evidence, self._learner.seq, _PAGE)
            if upto == self._learner.seq:  # what was heard of is not there: a server that crashed may lose what it did not promise
                self._committed = upto
                break
            for start in range(0, len(events), _SLICE):
                for event in (part := events[start : start + _SLICE]):
                    self._folding = event
                    fold(self._learner, event)
                    self._folding = None
                    self._settle(event)
                self._learner.advance(part[-1].seq)  # whoever asks meanwhile gets the digest of a position, not of something in between
                await asyncio.sleep(0)
            self._learner.advance(max(upto, self._learner.seq))
            self._published = self._learner.posterior()
            self._tell_incidents()
            async with self._folded:
                self._folded.notify_all()
        self._behind_since = None

    async def _catch_up_from_far(self) -> None:
        """Fold much at once, where nobody has to be told of its outcomes; the next stretch is read meanwhile."""

        def read(after: int) -> asyncio.Future[tuple[Stretch, int]]:
            upto = min(self._committed, after + (_AT_ONCE if self.follower.running else STRETCH))
            return asyncio.ensure_future(asyncio.to_thread(self._store.read_stretch, after, upto, self._trusted))

        reading = read(self._learner.seq)
        try:
            while True:
                stretch, upto = await reading
                if upto == self._learner.seq:
                    return
                reading = read(upto)
                stretch.fold_into(self._learner)
                self._learner.advance(upto)
                self._published = self._learner.posterior()
                self._tell_incidents()
                async with self._folded:
                    self._folded.notify_all()
        finally:
            reading.cancel()

    def _settle(self, event: LogEvent) -> None:
        """Tell once what became of a call, those that are read back at the start left aside."""
        if self._paid is None or not self.follower.running or event.seq <= self._paid_upto:
            return
        if isinstance(event, AttemptEvent | OutcomeEvent):
            self._paid_upto = event.seq
            self._paid(event)

    def _tell_incidents(self) -> None:
        """Log each incident once; those of a log that is read back at the start were told when they opened."""
        known = {(i.model, i.task_type, i.target, i.opened): i for i in self._learner.incidents}
        if self.follower.running:
            for key in known.keys() - self._told:
                log.warning("incident.opened", seq=known[key].opened, since_seq=known[key].since, **described(known[key]))
        self._told |= known.keys()

    async def _snapshot(self) -> None:
        learner = self._learner
        if learner.seq == self._snapshot_seq:
            return
        snapshot = Snapshot(learner.seq, SCHEMA_VERSION, learner.digest(), state.save(learner), self._clock())
        self._snapshot_seq = snapshot.seq
        await asyncio.to_thread(self._store.save_snapshot, snapshot)
        log.info("training.snapshot_saved", seq=snapshot.seq, digest=snapshot.digest, bytes=len(snapshot.state))
