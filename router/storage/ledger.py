"""What a group of writes becomes, decided without I/O: one result per write, and the records to add.

Both stores decide here, so repeats, conflicts and corrections mean the same in memory and on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from router.domain.decisions import Decision
from router.domain.events import Attempt, Committed, CostChange, CostSource, Feedback, FeedbackChange, Outcome, Regime, Write
from router.errors import DecisionNotFound, FeedbackConflict, FeedbackNotFound, OutcomeConflict, RouterError
from router.storage.codec import decision_row
from router.storage.cost_rows import CostRevision
from router.storage.revisions import Revision, ScoreKey

SourceKey = tuple[str | None, str]
"""Who sent it, and the idempotency key they chose: two senders never collide."""


@dataclass(slots=True)
class Known:
    """A logged decision, as far as later writes depend on it."""

    seq: int
    id: str
    model: str
    decision: Decision | None = None
    """The whole of it, where the group may repeat it."""
    outcome: tuple[int, Outcome] | None = None
    """With its seq."""
    recost: CostRevision | None = None
    """The latest correction of the outcome's cost."""
    attempts: dict[int, int] = field(default_factory=dict)
    """Their seq by their number."""
    scores: dict[ScoreKey, Revision] = field(default_factory=dict)
    """The latest revision of each feedback."""

    @property
    def served(self) -> str:
        """The model that feedback is about: settled by the first feedback, whatever is learned later."""
        for revision in self.scores.values():
            return revision.model
        return (self.outcome[1].model if self.outcome else None) or self.model


@dataclass(slots=True)
class View:
    """The part of the log that a group of writes refers to; applying the group brings it up to date."""

    decisions: dict[str, Known] = field(default_factory=dict)
    feedback: dict[str, tuple[Known, ScoreKey]] = field(default_factory=dict)
    """By feedback id."""
    keys: dict[SourceKey, tuple[Known, Revision]] = field(default_factory=dict)
    """By source and idempotency key: the very revision that was written under it."""


@dataclass(slots=True)
class Additions:
    """The records that a group adds to the log."""

    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    attempts: list[tuple[int, Known, Attempt]] = field(default_factory=list)
    outcomes: list[tuple[int, Known, Outcome]] = field(default_factory=list)
    costs: list[tuple[Known, CostRevision]] = field(default_factory=list)
    feedback: list[tuple[Known, Revision]] = field(default_factory=list)
    regimes: list[tuple[int, Regime]] = field(default_factory=list)


def apply(view: View, last_seq: int, writes: Sequence[Write]) -> tuple[list[Committed | RouterError], Additions]:
    """Decide the writes in order, counting on from ``last_seq``."""
    group = _Group(view, last_seq)
    return [group.decide(write) for write in writes], group.added


class _Group:
    def __init__(self, view: View, last_seq: int) -> None:
        self.view = view
        self.seq = last_seq
        self.added = Additions()

    def decide(self, write: Write) -> Committed | RouterError:
        match write:
            case Decision():
                return self._decision(write)
            case Attempt():
                return self._attempt(write)
            case Outcome():
                return self._outcome(write)
            case CostChange():
                return self._cost(write)
            case Feedback():
                return self._feedback(write)
            case FeedbackChange():
                return self._change(write)
            case Regime():
                return self._regime(write)

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _regime(self, regime: Regime) -> Committed:
        seq = self._next()
        self.added.regimes.append((seq, regime))
        return Committed(seq, regime.catalog_version)

    def _decision(self, decision: Decision) -> Committed | RouterError:
        known = self.view.decisions.get(decision.id)
        if known is not None:
            if known.decision is not None and decision_row(known.seq, known.decision) == decision_row(known.seq, decision):
                return Committed(known.seq, decision.id, repeated=True)
            return RouterError("the id belongs to another decision", field="id", remedy="draw a new id")
        seq = self._next()
        self.view.decisions[decision.id] = Known(seq, decision.id, decision.model, decision)
        self.added.decisions.append((seq, decision))
        return Committed(seq, decision.id)

    def _attempt(self, attempt: Attempt) -> Committed | RouterError:
        known = self.view.decisions.get(attempt.decision_id)
        if known is None:
            return _no_decision()
        if attempt.number in known.attempts:
            return Committed(known.attempts[attempt.number], known.id, repeated=True)
        seq = known.attempts[attempt.number] = self._next()
        self.added.attempts.append((seq, known, attempt))
        return Committed(seq, known.id)

    def _outcome(self, outcome: Outcome) -> Committed | RouterError:
        known = self.view.decisions.get(outcome.decision_id)
        if known is None:
            return _no_decision()
        if known.outcome is not None:
            seq, recorded = known.outcome
            if replace(outcome, at=recorded.at) == recorded:
                return Committed(seq, known.id, repeated=True)
            return OutcomeConflict(
                "another outcome is already recorded for this decision",
                field="decision_id",
                remedy="send the outcome that was sent first, or none: it cannot be changed",
            )
        seq = self._next()
        known.outcome = (seq, outcome)
        self.added.outcomes.append((seq, known, outcome))
        return Committed(seq, known.id)

    def _cost(self, change: CostChange) -> Committed | RouterError:
        known = self.view.decisions.get(change.decision_id)
        if known is None or known.outcome is None:
            return _no_decision()
        outcome, latest = known.outcome[1], known.recost
        if outcome.cost_source is CostSource.REPORTED:
            return OutcomeConflict("this cost was reported", field="cost_usd", remedy="leave it: only computed costs are computed anew")
        if change.cost_usd is not None and not 0 <= change.cost_usd < inf:
            return RouterError("the cost is out of range", field="cost_usd", remedy="send a finite cost of at least 0, or none")
        before = latest.cost_usd if latest else outcome.cost_usd
        if change.cost_usd == before:
            return Committed(latest.seq if latest else known.outcome[0], known.id, latest.revision if latest else 0, repeated=True)
        revision = CostRevision(self._next(), known.seq, latest.revision + 1 if latest else 1, change.at, before, change.cost_usd)
        known.recost = revision
        self.added.costs.append((known, revision))
        return Committed(revision.seq, known.id, revision.revision)

    def _feedback(self, given: Feedback) -> Committed | RouterError:
        if not (0 <= given.score <= 1 and 0 <= given.weight < inf):
            return _no_score()
        if not (0 <= (given.cost_usd or 0.0) < inf and (given.sampling is None or 0 < given.sampling <= 1)):
            return RouterError("the cost or the probability is out of range", field="sampling", remedy="send a probability in (0, 1]")
        if given.idempotency_key is not None and (hit := self.view.keys.get((given.source, given.idempotency_key))):
            known, earlier = hit
            same = (known.id, earlier.judge, earlier.metric) == (given.decision_id, given.judge, given.metric) and _holds(earlier, given)
            return _repeat(earlier) if same else _conflict("the idempotency key was used with another payload", "idempotency_key", earlier)
        found = self.view.decisions.get(given.decision_id)
        if found is None:
            return _no_decision()
        latest = found.scores.get((given.judge, given.metric))
        if latest is not None and latest.score is not None:
            if _holds(latest, given):
                return _repeat(latest)
            return _conflict("this judge has already scored this metric of the decision otherwise", "score", latest)
        if latest is None and given.id in self.view.feedback:
            taken, key = self.view.feedback[given.id]
            return _conflict("the feedback id belongs to another score", "id", taken.scores[key])
        return self._revise(
            found,
            latest,
            feedback_id=latest.feedback_id if latest else given.id,
            key=(given.judge, given.metric),
            score=given.score,
            weight=given.weight,
            at=given.at,
            idempotency_key=given.idempotency_key,
            comment=given.comment,
            source=given.source,
            paid=(given.cost_usd, given.sampling),
        )

    def _change(self, change: FeedbackChange) -> Committed | RouterError:
        if change.score is not None and not 0 <= change.score <= 1:
            return _no_score()
        if change.id not in self.view.feedback:
            return FeedbackNotFound("no feedback has this id", field="id", remedy="send the id that the feedback was acknowledged with")
        known, key = self.view.feedback[change.id]
        latest = known.scores[key]
        if latest.score == change.score:
            return _repeat(latest)
        return self._revise(
            known,
            latest,
            feedback_id=change.id,
            key=key,
            score=change.score,
            weight=latest.weight,
            at=change.at,
            idempotency_key=None,
            comment=change.comment,
            source=latest.source,
            paid=(latest.cost_usd, latest.sampling),
        )

    def _revise(
        self,
        known: Known,
        latest: Revision | None,
        *,
        feedback_id: str,
        key: ScoreKey,
        score: float | None,
        weight: float,
        at: float,
        idempotency_key: str | None,
        comment: str | None,
        source: str | None,
        paid: tuple[float | None, float | None],
    ) -> Committed:
        revision = Revision(
            seq=self._next(),
            decision_seq=known.seq,
            feedback_id=feedback_id,
            revision=latest.revision + 1 if latest else 1,
            judge=key[0],
            metric=key[1],
            score=score,
            weight=weight,
            at=at,
            model=known.served,
            before=(latest.score, latest.weight) if latest and latest.score is not None else None,
            others=tuple(
                (r.judge, r.metric, r.score, r.weight, r.source) for k, r in known.scores.items() if k != key and r.score is not None
            ),
            idempotency_key=idempotency_key,
            comment=comment,
            source=source,
            cost_usd=paid[0],
            sampling=paid[1],
        )
        known.scores[key] = revision
        self.view.feedback[feedback_id] = (known, key)
        if idempotency_key is not None:
            self.view.keys[source, idempotency_key] = (known, revision)
        self.added.feedback.append((known, revision))
        return Committed(revision.seq, feedback_id, revision.revision)


def _holds(revision: Revision, given: Feedback) -> bool:
    return (revision.score, revision.weight) == (given.score, given.weight)


def _repeat(revision: Revision) -> Committed:
    return Committed(revision.seq, revision.feedback_id, revision.revision, repeated=True)


def _no_decision() -> DecisionNotFound:
    return DecisionNotFound("no decision has this id", field="decision_id", remedy="send the decision_id of a routing answer")


def _no_score() -> RouterError:
    # the last gate: a database keeps NaN as NULL, which would read as a retraction
    return RouterError("the score or its weight is out of range", field="score", remedy="send a score in [0, 1] and a finite weight")


def _conflict(message: str, name: str, revision: Revision) -> FeedbackConflict:
    return FeedbackConflict(message, field=name, remedy=f"correct it with PUT /v1/feedback/{revision.feedback_id}")
