"""How judges judge: how often, at what price, how far they agree, whether order sways them, whether they have moved.

Measured on a stretch of the log, from scores as they stand at its end. What a judge's scores are worth beside a trusted one's
(calibration) is the learner's to know; it is told here beside the rest.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from learning.arrays import FloatArray
from learning.choice import Z90
from router.domain.decisions import Estimate
from router.domain.events import FeedbackEvent
from router.domain.evidence import QUALITY_METRIC

FLIP_METRIC = "flip"
"""What the pairwise judge says beside its score: 1 where the order of the answers changed its mind."""
CLOSE = 0.1
"""Scores this near count as the same."""
_LEAST = 20
"""Scores on each side of a comparison below which nothing is said."""
_RECENT = 0.25
"""Share of a judge's scores that counts as its recent ones."""
_SURE = 3.0
"""Standard errors beyond which a judge has moved."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the learner makes of a judge: a score s counts as offset + slope * s, of a noise beside a trusted judge's."""

    offset: float
    slope: float
    noise_sd: float
    shared: float
    """Answers that a trusted judge scored too, as of now."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The recent quarter of a judge's scores against those before."""

    difference: Estimate
    basis: str
    """On what both are compared: ``shared answers`` (against the other judges of the same answers, so that a change of the models does not
    count) or ``same models and task types``."""
    recent: int
    before: int
    sure: bool
    """By more than three standard errors."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One judge, on the metric quality."""

    judge: str
    trusted: bool
    scores: int
    mean: float
    sd: float
    models: int
    cost_usd: float
    """As far as it is known."""
    sampled: int
    """Scores of answers that were drawn to be judged, with a known probability."""
    mean_sampling: float | None
    flips: float | None
    """Share of the comparisons that the order decided; None: it makes none."""
    comparisons: int
    moved: Moved | None
    """None: too few scores to say."""
    calibration: Calibrated | None
    """None: it shares no answers with a trusted judge, or is one."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judges of the same answers."""

    first: str
    second: str
    shared: int
    difference: Estimate
    """Mean of the first one's score minus the second's."""
    correlation: float | None
    """None: one of them gave the same score throughout, or there are fewer than three answers."""
    close: float
    """Share of the answers on which they are within 0.1."""


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """Positions ``after_seq`` < seq <= ``upto`` of the log."""

    after_seq: int
    upto: int
    judges: tuple[Measured, ...]
    """The busiest first."""
    agreements: tuple[Agreement, ...]
    """The pairs with most answers in common first."""


@dataclass(slots=True)
class _Answer:
    """The scores of one decision as they stand."""

    kind: tuple[str, str]
    """Model and task type."""
    scores: dict[str, float] = field(default_factory=dict)
    flips: dict[str, float] = field(default_factory=dict)


class JudgeMeasures:
    """Folds feedback in log order."""

    def __init__(self) -> None:
        self._answers: dict[int, _Answer] = {}
        self._at: dict[tuple[str, int], int] = {}
        """When a judge first scored a decision, as a log position."""
        self._paid: dict[tuple[str, int], tuple[float | None, float | None]] = {}
        """Cost and sampling probability by judge and decision."""

    def fold(self, event: FeedbackEvent) -> None:
        """Take a score, a correction or a retraction."""
        answer = self._answers.setdefault(event.decision_seq, _Answer((event.model, event.task_type)))
        answer.scores = {judge: score for (judge, metric), (score, _) in event.after.items() if metric == QUALITY_METRIC}
        answer.flips = {judge: score for (judge, metric), (score, _) in event.after.items() if metric == FLIP_METRIC}
        for judge in answer.scores:
            self._at.setdefault((judge, event.decision_seq), event.seq)
        if event.metric == QUALITY_METRIC:
            self._paid[event.judge, event.decision_seq] = event.cost_usd, event.sampling

    def report(self, after_seq: int, upto: int, calibrations: Mapping[str, Calibrated], trusts: Callable[[str], bool]) -> JudgeReport:
        """What was folded, as of now."""
        judges = {judge for answer in self._answers.values() for judge in (*answer.scores, *answer.flips)}
        measured = [self._measured(judge, calibrations.get(judge), trusts(judge)) for judge in sorted(judges)]
        pairs = [agreement for pair in combinations(sorted(judges), 2) if (agreement := self._agreement(*pair)) is not None]
        return JudgeReport(
            after_seq,
            upto,
            tuple(sorted((m for m in measured if m.scores or m.comparisons), key=lambda m: (-m.scores, m.judge))),
            tuple(sorted(pairs, key=lambda pair: (-pair.shared, pair.first, pair.second))),
        )

    def _measured(self, judge: str, calibration: Calibrated | None, trusted: bool) -> Measured:
        own = [(seq, answer) for seq, answer in self._answers.items() if judge in answer.scores]
        scores = np.array([answer.scores[judge] for _, answer in own])
        paid = [self._paid.get((judge, seq), (None, None)) for seq, _ in own]
        sampling = [probability for _, probability in paid if probability is not None]
        flips = [answer.flips[judge] for answer in self._answers.values() if judge in answer.flips]
        return Measured(
            judge=judge,
            trusted=trusted,
            scores=len(own),
            mean=float(scores.mean()) if len(own) else 0.0,
            sd=float(scores.std(ddof=1)) if len(own) > 1 else 0.0,
            models=len({answer.kind[0] for _, answer in own}),
            cost_usd=math.fsum(cost for cost, _ in paid if cost is not None),
            sampled=len(sampling),
            mean_sampling=math.fsum(sampling) / len(sampling) if sampling else None,
            flips=math.fsum(flips) / len(flips) if flips else None,
            comparisons=len(flips),
            moved=self._moved(judge, own),
            calibration=calibration,
        )

    def _agreement(self, first: str, second: str) -> Agreement | None:
        both = [answer.scores for answer in self._answers.values() if first in answer.scores and second in answer.scores]
        if not both:
            return None
        a, b = np.array([scores[first] for scores in both]), np.array([scores[second] for scores in both])
        gap = a - b
        error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 1.0
        varied = len(gap) > 2 and a.std() > 0 and b.std() > 0
        return Agreement(
            first,
            second,
            len(both),
            _estimate(float(gap.mean()), error),
            float(np.corrcoef(a, b)[0, 1]) if varied else None,
            float((np.abs(gap) <= CLOSE + 1e-9).mean()),
        )

    def _moved(self, judge: str, own: Sequence[tuple[int, _Answer]]) -> Moved | None:
        ordered = sorted(own, key=lambda item: self._at[judge, item[0]])
        start = len(ordered) - max(int(len(ordered) * _RECENT), _LEAST)
        gaps = [
            (at >= start, answer.scores[judge] - math.fsum(others) / len(others))
            for at, (_, answer) in enumerate(ordered)
            if (others := [score for name, score in answer.scores.items() if name != judge])
        ]
        if sum(late for late, _ in gaps) >= _LEAST and sum(not late for late, _ in gaps) >= _LEAST:
            late, early = (np.array([gap for is_late, gap in gaps if is_late is side]) for side in (True, False))
            return _difference([(late, early)], "shared answers")
        kinds: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
        for at, (_, answer) in enumerate(ordered):
            kinds.setdefault(answer.kind, ([], []))[0 if at >= start else 1].append(answer.scores[judge])
        strata = [(np.array(late), np.array(early)) for late, early in kinds.values() if len(late) > 1 and len(early) > 1]
        if sum(len(late) for late, _ in strata) < _LEAST or sum(len(early) for _, early in strata) < _LEAST:
            return None
        return _difference(strata, "same models and task types")


def _difference(strata: Sequence[tuple[FloatArray, FloatArray]], basis: str) -> Moved:
    """Late minus early, over strata weighed by what they can tell."""
    sizes = np.array([(len(late), len(early)) for late, early in strata], dtype=np.float64)
    weight = sizes.prod(axis=1) / sizes.sum(axis=1)
    weight /= weight.sum()
    gap = np.array([late.mean() - early.mean() for late, early in strata])
    freedom = sum(len(late) + len(early) - 2 for late, early in strata)
    squares = sum(float(((side - side.mean()) ** 2).sum()) for pair in strata for side in pair)
    variance = squares / max(freedom, 1)
    error = math.sqrt(max(float((weight**2 * variance * (1 / sizes).sum(axis=1)).sum()), 1e-12))
    difference = float((weight * gap).sum())
    counts = sizes.sum(axis=0)
    return Moved(_estimate(difference, error), basis, int(counts[0]), int(counts[1]), abs(difference) > _SURE * error)


def _estimate(mean: float, error: float) -> Estimate:
    return Estimate(mean, max(-1.0, mean - Z90 * error), min(1.0, mean + Z90 * error))
