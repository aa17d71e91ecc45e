"""What routing gains over the held-back baseline: quality, cost, latency and utility, valid however often one looks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.arrays import FloatArray
from learning.evaluation.experiments import lift_terms, ratio_evidence
from learning.evaluation.intervals import Interval, always_valid
from router.domain.evaluation import NAMES
from router.domain.events import Attempt, Status

LEAST_HELD = 30
"""Units of the baseline below which nothing is claimed."""
_STRANGE = 2.0
"""Base-10 logarithm of the evidence above which the split is not what was set."""
_UNEVEN = 4.0
"""Standard errors between the arms' shares of scored units above which the missing scores may mislead."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the experiment reads of a decision: a small part of it, for it is read by the hundred thousand."""

    seq: int
    decision_id: str
    at: float
    episode_id: str | None
    request: Mapping[str, Any]
    """Empty for a decision that took no part: then nothing is told of what came of it either."""
    status: Status | None = None
    """None: nobody has said how it ended."""
    cost_usd: float | None = None
    latency_s: float | None = None
    feedback: tuple[Mapping[str, Any], ...] = ()
    """Each {judge, metric, score, weight, sampling} at least, as ``DecisionRecord.feedback``."""
    attempts: tuple[Attempt, ...] = ()


ARM = "arm"
"""What a decision that takes part says in its request: the arm it is in."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One episode, or a decision outside any: what was randomised. Outcomes are means over its decisions; NaN where unknown."""

    at: float
    held: bool
    share: float
    """Probability of being held back."""
    decisions: int
    outcome: Sequence[float]
    """(4,) quality, cost, latency, utility."""


@dataclass(frozen=True, slots=True)
class Gain:
    """One quantity per decision in both arms. ``lift`` is None where there is too little to say."""

    routed: float | None
    baseline: float | None
    lift: Interval | None
    """Routed less baseline, 95 % at any time."""
    units: tuple[int, int]
    """Routed and held-back units with this quantity."""


@dataclass(frozen=True, slots=True)
class Lift:
    """The report of the experiment so far."""

    share: float | None
    """Set to be held back; None where nothing ever was."""
    units: tuple[int, int]
    """Routed and held back."""
    decisions: tuple[int, int]
    ratio_evidence: float | None
    """Base-10 logarithm of the evidence that the split is not the one that was set; above 2 the report is not to be trusted."""
    doubts: tuple[str, ...]
    quality: Gain
    cost_usd: Gain
    latency_s: Gain
    utility: Gain
    saved_usd: Interval | None
    """By all routed decisions together."""
    since: float | None
    until: float | None


def report(units: Sequence[Unit]) -> Lift:
    """From the units, oldest first."""
    held = np.array([unit.held for unit in units], dtype=bool)
    share = np.array([unit.share for unit in units])
    values = np.array([unit.outcome for unit in units]).reshape(-1, len(NAMES) + 1)
    gains = [_gain(values[:, k], held, share) for k in range(values.shape[1])]
    counts = int((~held).sum()), int(held.sum())
    decisions = sum(unit.decisions for unit in units if not unit.held), sum(unit.decisions for unit in units if unit.held)
    evidence = _evidence(held, share)
    doubts = []
    if not units:
        doubts.append("nothing is held back: set holdback_share and baseline_model")
    elif counts[1] < LEAST_HELD:
        doubts.append(f"{counts[1]} units were held back; {LEAST_HELD} are needed")
    if evidence is not None and evidence > _STRANGE:
        doubts.append(f"{counts[1]} of {len(units)} units were held back where {float(share.mean()):.1%} was set: the split is not random")
    if units and (uneven := _uneven(values[:, 0], held)) > _UNEVEN:
        doubts.append(f"the arms are scored unevenly ({uneven:.0f} standard errors apart): missing scores may mislead")
    cost = gains[1].lift
    return Lift(
        share=float(share[-1]) if len(units) else None,
        units=counts,
        decisions=decisions,
        ratio_evidence=evidence,
        doubts=tuple(doubts),
        quality=gains[0],
        cost_usd=gains[1],
        latency_s=gains[2],
        utility=gains[3],
        saved_usd=None if cost is None else Interval(-cost.mean * decisions[0], -cost.high * decisions[0], -cost.low * decisions[0]),
        since=units[0].at if units else None,
        until=units[-1].at if units else None,
    )


def _gain(value: FloatArray, held: "np.ndarray[tuple[int], np.dtype[np.bool_]]", share: FloatArray) -> Gain:
    known = ~np.isnan(value)
    y, arm, h = value[known], held[known], share[known]
    counts = int((~arm).sum()), int(arm.sum())
    return Gain(
        routed=float(y[~arm].mean()) if counts[0] else None,
        baseline=float(y[arm].mean()) if counts[1] else None,
        lift=always_valid(lift_terms(y, arm, h)) if counts[1] >= LEAST_HELD and counts[0] >= LEAST_HELD else None,
        units=counts,
    )


def _evidence(held: "np.ndarray[tuple[int], np.dtype[np.bool_]]", share: FloatArray) -> float | None:
    """The evidence of each stretch with one share, multiplied."""
    if not len(held):
        return None
    return math.fsum(ratio_evidence(int(held[share == h].sum()), int((share == h).sum()), float(h)) for h in np.unique(share).tolist())


def _uneven(score: FloatArray, held: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    seen = ~np.isnan(score)
    counts = (~held).sum(), held.sum()
    if not all(counts):
        return 0.0
    rate = float(seen.mean())
    error = math.sqrt(max(rate * (1.0 - rate), 1e-12) * (1.0 / counts[0] + 1.0 / counts[1]))
    return abs(float(seen[held].mean()) - float(seen[~held].mean())) / error
