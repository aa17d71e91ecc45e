"""From log events to what the learner folds. One place says what counts as evidence of what."""

import math
from collections.abc import Mapping

from learning.features import from_bytes
from learning.learner import Learner
from learning.statistics import Call, Observation
from learning.targets import Target
from router.domain.events import ArrivalEvent, AttemptEvent, CostEvent, FeedbackEvent, LogEvent, OutcomeEvent, RegimeEvent, Status
from router.domain.offers import facts_of

_SAYS_NOTHING = frozenset({Status.CANCELLED, Status.REJECTED})

QUALITY_METRIC = "quality"
"""Only this metric is evidence of quality; others are kept for reports."""


def fold(learner: Learner, event: LogEvent) -> None:
    """Fold one event: the same for every reader of the log. The learned state is this, over all events in order, and nothing else."""
    if isinstance(event, ArrivalEvent):
        learner.arrive([event.model])
    if isinstance(event, RegimeEvent):
        learner.register(facts_of(event.regime.models), arriving=False)
    for item in evidence(event):
        if isinstance(item, Call):
            learner.fold_call(item)
        else:
            learner.fold(item)


def evidence(event: LogEvent) -> list[Observation | Call]:
    """What one event tells the learner.

    A failure is evidence of reliability and of nothing else; a cancelled or refused call of nothing at all. A correction is the old
    value taken back and the new one put in. The last attempt is told by the outcome, so that nothing counts twice.
    """
    if isinstance(event, AttemptEvent):
        tried = event.attempt
        failed = not tried.last and tried.status is not Status.OK and tried.status not in _SAYS_NOTHING
        return [Call(tried.model, True, event.decision_seq)] if failed else []
    if isinstance(event, OutcomeEvent):
        return _of_outcome(event)
    if isinstance(event, CostEvent):
        return _of_cost(event)
    if isinstance(event, FeedbackEvent) and event.metric == QUALITY_METRIC:
        return _of_feedback(event)
    return []


def _of_outcome(event: OutcomeEvent) -> list[Observation | Call]:
    outcome = event.outcome
    if outcome.status in _SAYS_NOTHING:
        return []
    failed = outcome.status is not Status.OK
    found: list[Observation | Call] = [Call(event.model, failed, event.decision_seq)]
    if failed:
        return found
    measured: list[tuple[Target, float]] = []
    if outcome.output_tokens is not None:
        measured.append((Target.OUTPUT_TOKENS, math.log(max(outcome.output_tokens, 1))))
    if outcome.latency_s is not None and outcome.latency_s > 0:
        measured.append((Target.LATENCY, math.log(outcome.latency_s)))
    if outcome.cost_usd is not None and outcome.cost_usd > 0:
        measured.append((Target.COST, math.log(outcome.cost_usd)))
    features = from_bytes(event.features, event.features_schema)
    found += [Observation(target, event.model, event.task_type, features, value, event.decision_seq) for target, value in measured]
    return found


def _of_cost(event: CostEvent) -> list[Observation | Call]:
    if event.status is not Status.OK:
        return []
    features = from_bytes(event.features, event.features_schema)
    return [
        Observation(Target.COST, event.model, event.task_type, features, math.log(usd), event.decision_seq, sign, correction=True)
        for usd, sign in ((event.before_usd, -1.0), (event.after_usd, 1.0))
        if usd is not None and usd > 0
    ]


def _of_feedback(event: FeedbackEvent) -> list[Observation | Call]:
    features = from_bytes(event.features, event.features_schema)
    found: list[Observation | Call] = []
    for scores, sign in ((event.before, -1.0), (event.after, 1.0)):
        settled = settle(scores)
        if settled is not None:
            score, weight = settled
            correction = bool(event.before)
            found.append(
                Observation(Target.QUALITY, event.model, event.task_type, features, score, event.decision_seq, sign * weight, correction)
            )
    return found


def settle(scores: Mapping[tuple[str, str], tuple[float, float]]) -> tuple[float, float] | None:
    """The reward of one answer: the weighted mean of its judges' quality scores, counted as one label however many judges spoke."""
    quality = [value for (_, metric), value in sorted(scores.items()) if metric == QUALITY_METRIC]
    total = math.fsum(weight for _, weight in quality)
    if total <= 0:
        return None
    return math.fsum(score * weight for score, weight in quality) / total, max(weight for _, weight in quality)
