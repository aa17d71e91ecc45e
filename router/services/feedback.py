"""Takes scores and outcomes, late or at once, and makes every correction exact."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.domain.decisions import Decision, is_unlogged
from router.domain.events import Committed, Feedback, FeedbackChange, Outcome, Write
from router.errors import DecisionNotFound, DecisionUnlogged, Overloaded, RouterError, StorageUnavailable
from router.ports import Store

VERDICTS: dict[str, float] = {"good": 1.0, "acceptable": 0.5, "bad": 0.0}
PREFERENCE_SUFFIX = "/preference"
PREFERENCE_WEIGHT = 0.25
"""A preference says less about an answer than a score of it does."""
MAX_EPISODE = 10_000
_PAGE = 500
_TOGETHER = 500
"""Writes handed over at a time, so that one batch leaves room in the queue for others."""


class LogWriter(Protocol):
    """The writer in front of the log."""

    async def write(self, record: Write) -> Committed:
        """Return when the record is durable.

        Raises ``Overloaded``, ``StorageUnavailable``, or the store's refusal of this record.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a caller says about a decision or an episode: exactly one of score, verdict and preferred_over."""

    decision_id: str | None = None
    episode_id: str | None = None
    score: float | None = None
    verdict: str | None = None
    preferred_over: str | None = None
    judge: str = "user"
    metric: str = "quality"
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One acknowledged score; ``item`` counts the opinions from 0."""

    item: int
    decision_id: str
    committed: Committed


@dataclass(frozen=True, slots=True)
class Refused:
    """One score that was not taken, and why."""

    item: int
    error: RouterError


class FeedbackService:
    """Records, corrects and retracts scores, and records outcomes."""

    def __init__(
        self, writer: LogWriter, store: Store, *, clock: Callable[[], float], new_id: Callable[[str], str], keep_comments: bool = False
    ) -> None:
        self._writer = writer
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._keep_comments = keep_comments

    async def record(
        self, opinions: Sequence[Opinion], *, idempotency_key: str | None = None, source: str | None = None
    ) -> list[Recorded | Refused]:
        """Write the scores that the opinions stand for, in their order; a refused one does not stop the others.

        Raises ``Overloaded`` or ``StorageUnavailable`` where the whole must be sent again: what was written then counts once.
        """
        rows: list[tuple[int, Feedback]] = []
        refused: list[Recorded | Refused] = []
        for item, opinion in enumerate(opinions):
            try:
                scores = await self._scores(opinion)
            except (DecisionNotFound, DecisionUnlogged) as exc:
                refused.append(Refused(item, exc))
                continue
            for nth, (decision_id, score, weight, judge) in enumerate(scores):
                key = _row_key(idempotency_key, item, nth)
                rows.append((item, self._row(opinion, decision_id, score, weight, judge, key, source)))
        results = await self._write_all([row for _, row in rows])
        done = [
            Refused(item, result) if isinstance(result, RouterError) else Recorded(item, row.decision_id, result)
            for (item, row), result in zip(rows, results, strict=True)
        ]
        return sorted(refused + done, key=lambda one: one.item)

    async def correct(
        self, feedback_id: str, *, score: float | None = None, verdict: str | None = None, comment: str | None = None
    ) -> Committed:
        """Replace a score; the learned state becomes what it would be had the new score been the first.

        Raises ``FeedbackNotFound``.
        """
        settled = VERDICTS[verdict] if verdict is not None else score
        return await self._writer.write(FeedbackChange(feedback_id, settled, self._clock(), self._kept(comment)))

    async def retract(self, feedback_id: str) -> Committed:
        """Take a score back; the learned state becomes what it would be without it.

        Raises ``FeedbackNotFound``.
        """
        return await self._writer.write(FeedbackChange(feedback_id, None, self._clock()))

    async def observe(self, outcomes: Sequence[Outcome]) -> list[Committed | RouterError]:
        """Record what calls did, one outcome per decision; a refused one does not stop the others.

        Raises ``Overloaded`` or ``StorageUnavailable`` where the whole must be sent again.
        """
        return await self._write_all(outcomes)

    async def _scores(self, opinion: Opinion) -> list[tuple[str, float, float, str]]:
        for field, named in (("decision_id", opinion.decision_id), ("preferred_over", opinion.preferred_over)):
            if named is not None and is_unlogged(named):
                raise _not_logged(field)
        if opinion.preferred_over is not None and opinion.decision_id is not None:
            judge = opinion.judge + PREFERENCE_SUFFIX
            await self._known(opinion.decision_id, "decision_id")
            await self._known(opinion.preferred_over, "preferred_over")  # both or none: half a preference would be a score
            return [(opinion.decision_id, 1.0, PREFERENCE_WEIGHT, judge), (opinion.preferred_over, 0.0, PREFERENCE_WEIGHT, judge)]
        score = VERDICTS[opinion.verdict] if opinion.verdict is not None else opinion.score
        if score is None:
            raise ValueError("an opinion needs a score, a verdict or a preference between two decisions")
        if opinion.decision_id is not None:
            return [(opinion.decision_id, score, 1.0, opinion.judge)]
        return [(decision.id, score, 1.0, opinion.judge) for decision in await self._episode(opinion.episode_id or "")]

    async def _known(self, decision_id: str, field: str) -> None:
        if await asyncio.to_thread(self._store.decision, decision_id) is None:
            raise DecisionNotFound("no decision has this id", field=field, remedy="send the decision_id of a routing answer")

    async def _episode(self, episode_id: str) -> list[Decision]:
        found: list[Decision] = []
        before: int | None = None
        while len(found) < MAX_EPISODE:
            page = await asyncio.to_thread(self._store.decisions, before_seq=before, limit=_PAGE, episode_id=episode_id)
            found += [record.decision for record in page]
            if len(page) < _PAGE:
                break
            before = page[-1].seq
        if not found:
            remedy = "send the episode_id that was given to /v1/route"
            raise DecisionNotFound("no decision belongs to this episode", field="episode_id", remedy=remedy)
        return found[::-1]  # oldest first, so that a repeat after more decisions gives the same rows the same keys

    def _row(
        self, opinion: Opinion, decision_id: str, score: float, weight: float, judge: str, key: str | None, source: str | None
    ) -> Feedback:
        return Feedback(
            id=self._new_id("fb"),
            decision_id=decision_id,
            judge=judge,
            metric=opinion.metric,
            score=score,
            at=self._clock(),
            idempotency_key=key,
            comment=self._kept(opinion.comment),
            source=source,
            weight=weight,
        )

    def _kept(self, comment: str | None) -> str | None:
        return comment if self._keep_comments else None

    async def _write_all(self, records: Sequence[Write]) -> list[Committed | RouterError]:
        if len(records) == 1:
            return [await self._write(records[0])]
        done: list[Committed | RouterError] = []
        for start in range(0, len(records), _TOGETHER):
            done += await asyncio.gather(*(self._write(record) for record in records[start : start + _TOGETHER]))
        return done

    async def _write(self, record: Write) -> Committed | RouterError:
        if isinstance(record, Outcome) and is_unlogged(record.decision_id):
            return _not_logged("decision_id")
        try:
            return await self._writer.write(record)
        except (Overloaded, StorageUnavailable):
            raise
        except RouterError as exc:
            return exc


def _not_logged(field: str) -> DecisionUnlogged:
    remedy = "send nothing about it: it was taken while the log was away, and nothing is learned from it"
    return DecisionUnlogged("this decision is not in the log", field=field, remedy=remedy)


def _row_key(idempotency_key: str | None, item: int, nth: int) -> str | None:
    """One key may stand for several rows; the first has the key itself."""
    if idempotency_key is None or item == nth == 0:
        return idempotency_key
    return f"{idempotency_key}#{item}.{nth}"
