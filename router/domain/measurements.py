"""What the log says was measured, by task type and model: folded in log order, exact under corrections and retractions."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.events import CostEvent, Evidence, FeedbackEvent, OutcomeEvent, Status
from router.domain.evidence import QUALITY_METRIC
from router.domain.measured import Measure, of_moments, of_scores

IDS_KEPT = 50
"""Decisions named per cell; a query tells the rest."""
_SAYS_NOTHING = frozenset({Status.CANCELLED, Status.REJECTED})


@dataclass(slots=True)
class _Moments:
    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float, sign: int = 1) -> None:
        self.n += sign
        self.total += sign * value
        self.squares += sign * value * value

    def measure(self) -> Measure | None:
        return of_moments(self.n, self.total, self.squares)


@dataclass(slots=True)
class Measured:
    """One task type with one model."""

    scored: int = 0
    """Decisions with a quality score."""
    weight: float = 0.0
    score: float = 0.0
    answered: int = 0
    failed: int = 0
    unknown_cost: int = 0
    """Answers whose cost nobody knows."""
    output_tokens: int = 0
    token_s: float = 0.0
    """Seconds in which they came."""
    first_seq: int = 0
    last_seq: int = 0
    """Log positions of the first and the last decision with an outcome or a score."""
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=IDS_KEPT))
    """Of the latest decisions that were scored."""
    cost: _Moments = field(default_factory=_Moments)
    latency: _Moments = field(default_factory=_Moments)

    @property
    def quality(self) -> Measure | None:
        """Mean score."""
        return of_scores(self.score, self.weight, self.scored)

    @property
    def cost_usd(self) -> Measure | None:
        """Per answered call; None unless every call's cost is known."""
        return None if self.unknown_cost else self.cost.measure()

    @property
    def latency_s(self) -> Measure | None:
        """Of answered calls."""
        return self.latency.measure()

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens over seconds of answered calls."""
        return self.output_tokens / self.token_s if self.token_s > 0 else None


class Measurements:
    """All cells as of log position ``seq``."""

    def __init__(self) -> None:
        self.seq = 0
        self.cells: dict[tuple[str, str], Measured] = {}

    def fold(self, event: Evidence) -> None:
        """Take in the next event."""
        if not isinstance(event, OutcomeEvent | CostEvent | FeedbackEvent):
            return
        cell = self.cells.setdefault((event.task_type, event.model), Measured())
        cell.first_seq = cell.first_seq or event.decision_seq
        cell.last_seq = max(cell.last_seq, event.decision_seq)
        if isinstance(event, OutcomeEvent):
            _outcome(cell, event)
        elif isinstance(event, CostEvent):
            _cost(cell, event)
        elif event.metric == QUALITY_METRIC:
            _feedback(cell, event)

    def scores(self) -> int:
        """Decisions with a quality score."""
        return sum(cell.scored for cell in self.cells.values())


def by_task(cells: Mapping[tuple[str, str], Measured]) -> dict[str, dict[str, Measured]]:
    """Cells by task type and then by model, those with scores only."""
    found: dict[str, dict[str, Measured]] = {}
    for (task_type, model), cell in sorted(cells.items()):
        if cell.scored > 0:
            found.setdefault(task_type, {})[model] = cell
    return found


def _settled(scores: Mapping[tuple[str, str], tuple[float, float]]) -> tuple[float, float] | None:
    """The plain weighted mean of an answer's quality scores, as one observation; the learner weighs judges by what they proved worth."""
    held = [value for (_, metric), value in sorted(scores.items()) if metric == QUALITY_METRIC]
    total = math.fsum(weight for _, weight in held)
    if total <= 0:
        return None
    return math.fsum(score * weight for score, weight in held) / total, max(weight for _, weight in held)


def _outcome(cell: Measured, event: OutcomeEvent) -> None:
    outcome = event.outcome
    if outcome.status in _SAYS_NOTHING:
        return
    if outcome.status is not Status.OK:
        cell.failed += 1
        return
    cell.answered += 1
    if outcome.cost_usd is None:
        cell.unknown_cost += 1
    else:
        cell.cost.add(outcome.cost_usd)
    if outcome.latency_s is not None and outcome.latency_s > 0:
        cell.latency.add(outcome.latency_s)
        if outcome.output_tokens is not None:
            cell.output_tokens += outcome.output_tokens
            cell.token_s += outcome.latency_s


def _cost(cell: Measured, event: CostEvent) -> None:
    if event.status is not Status.OK:
        return
    for usd, sign in ((event.before_usd, -1), (event.after_usd, 1)):
        if usd is None:
            cell.unknown_cost += sign
        else:
            cell.cost.add(usd, sign)


def _feedback(cell: Measured, event: FeedbackEvent) -> None:
    for scores, sign in ((event.before, -1), (event.after, 1)):
        settled = _settled(scores)
        if settled is None:
            continue
        score, weight = settled
        cell.scored += sign
        cell.weight += sign * weight
        cell.score += sign * weight * score
    if event.decision_id not in cell.ids and _settled(event.after) is not None:
        cell.ids.append(event.decision_id)
