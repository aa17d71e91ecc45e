"""One row of the feedback log, and what readers make of it."""

from dataclasses import dataclass

from router.domain.events import FeedbackEvent

ScoreKey = tuple[str, str]
"""Judge and metric."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One row of the feedback log: a score as it was set, corrected or (None) retracted."""

    seq: int
    decision_seq: int
    feedback_id: str
    revision: int
    judge: str
    metric: str
    score: float | None
    weight: float
    at: float
    model: str
    """The model that served, the same for all feedback of a decision."""
    before: tuple[float, float] | None
    """The score and weight that this revision replaces."""
    others: tuple[tuple[str, str, float, float, str | None], ...]
    """(judge, metric, score, weight, source) of the decision's other active scores."""
    idempotency_key: str | None = None
    comment: str | None = None
    source: str | None = None
    cost_usd: float | None = None
    """Of judging, kept through corrections as is the next."""
    sampling: float | None = None


def feedback_event(revision: Revision, decision_id: str, task_type: str, features_schema: int, features: bytes) -> FeedbackEvent:
    """What the fold reads of a revision."""
    key = (revision.judge, revision.metric)
    others = {(judge, metric): (score, weight) for judge, metric, score, weight, _ in revision.others}
    return FeedbackEvent(
        seq=revision.seq,
        decision_seq=revision.decision_seq,
        decision_id=decision_id,
        feedback_id=revision.feedback_id,
        revision=revision.revision,
        task_type=task_type,
        model=revision.model,
        features_schema=features_schema,
        features=features,
        judge=revision.judge,
        metric=revision.metric,
        before={**others, key: revision.before} if revision.before else others,
        after={**others, key: (revision.score, revision.weight)} if revision.score is not None else others,
        at=revision.at,
        source=revision.source,
        sources={(judge, metric): source for judge, metric, _, _, source in revision.others} | {key: revision.source},
        cost_usd=revision.cost_usd,
        sampling=revision.sampling,
    )


def feedback_entry(revision: Revision) -> dict[str, object]:
    """What ``DecisionRecord.feedback`` tells of a revision."""
    return {
        "id": revision.feedback_id,
        "seq": revision.seq,
        "revision": revision.revision,
        "judge": revision.judge,
        "metric": revision.metric,
        "score": revision.score,
        "weight": revision.weight,
        "at": revision.at,
        "cost_usd": revision.cost_usd,
        "sampling": revision.sampling,
    }
