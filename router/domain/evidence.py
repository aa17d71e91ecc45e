"""From log events to what the learner folds. One place says what counts as evidence of what."""

import math

from learning.features import from_bytes
from learning.foretold import foretold_of
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.targets import Target
from learning.voices import Score, Verdict
from router.domain.events import ArrivalEvent, AttemptEvent, CostEvent, FeedbackEvent, LogEvent, OutcomeEvent, RegimeEvent, Status
from router.domain.offers import facts_of

SAYS_NOTHING = frozenset({Status.CANCELLED, Status.REJECTED})
"""How a call may end that is no evidence."""

QUALITY_METRIC = "quality"
"""Only this metric is evidence of quality; others are kept for reports."""


def fold(learner: Learner, event: LogEvent) -> None:
    """Fold one event: the same for every reader of the log. The learned state is this, over all events in order, and nothing else."""
    if isinstance(event, ArrivalEvent):
        learner.arrive([event.model])
    if isinstance(event, RegimeEvent):
        learner.register(facts_of(event.regime.models), arriving=False)
    for item in evidence(event):
        match item:
            case Call():
                learner.fold_call(item)
            case Verdict():
                learner.fold_verdict(item)
            case Observation():
                learner.fold(item)


def evidence(event: LogEvent) -> list[Observation | Call | Verdict]:
    """What one event tells the learner.

    A failure is evidence of reliability and of nothing else; a cancelled or refused call of nothing at all. A correction is the old
    value taken back and the new one put in. The last attempt is told by the outcome, so that nothing counts twice.
    """
    if isinstance(event, AttemptEvent):
        tried = event.attempt
        failed = not tried.last and tried.status is not Status.OK and tried.status not in SAYS_NOTHING
        return [Call(tried.model, True, event.decision_seq)] if failed else []
    if isinstance(event, OutcomeEvent):
        return _of_outcome(event)
    if isinstance(event, CostEvent):
        return _of_cost(event)
    if isinstance(event, FeedbackEvent) and event.metric == QUALITY_METRIC:
        return [_of_feedback(event)]
    return []


def _of_outcome(event: OutcomeEvent) -> list[Observation | Call | Verdict]:
    outcome = event.outcome
    if outcome.status in SAYS_NOTHING:
        return []
    failed = outcome.status is not Status.OK
    found: list[Observation | Call | Verdict] = [Call(event.model, failed, event.decision_seq)]
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


def _of_cost(event: CostEvent) -> list[Observation | Call | Verdict]:
    if event.status is not Status.OK:
        return []
    features = from_bytes(event.features, event.features_schema)
    return [
        Observation(Target.COST, event.model, event.task_type, features, math.log(usd), event.decision_seq, sign, correction=True)
        for usd, sign in ((event.before_usd, -1.0), (event.after_usd, 1.0))
        if usd is not None and usd > 0
    ]


def _of_feedback(event: FeedbackEvent) -> Verdict:
    before, after = (
        tuple(
            Score(judge, event.sources.get((judge, metric)), score, weight)
            for (judge, metric), (score, weight) in sorted(scores.items())
            if metric == QUALITY_METRIC
        )
        for scores in (event.before, event.after)
    )
    features = from_bytes(event.features, event.features_schema)
    return Verdict(event.model, event.task_type, features, event.decision_seq, before, after, foretold_of(event.features))
