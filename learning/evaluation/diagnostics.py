"""Whether a log can tell what a target policy is worth, and if not, why."""

import math
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.evaluation.estimators import Sample

LEAST_EFFECTIVE = 30.0
"""Effective sample size below which nothing is claimed."""
MOST_UNSUPPORTED = 0.05
"""Share of the target's choices that the log could never have drawn, above which nothing is claimed."""
MOST_IN_ONE = 0.2
"""Share of all weight on one decision above which nothing is claimed."""
_MOST_STRANGE = 4.5
"""Standard errors, by what could have been drawn, within which the mean weight must be 1."""


def effective_size(load: FloatArray) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    square = float(load @ load)
    return float(load.sum()) ** 2 / square if square > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Support:
    """What a log holds about a target policy."""

    decisions: int
    observed: int
    """With an outcome of the quantity."""
    effective: float
    """As many equally weighted outcomes as tell as much: by what was drawn, or by what could have been, whichever is less."""
    largest_share: float
    """Of all weight, on one decision."""
    largest_weight: float
    mean_weight: float
    """1 in expectation, where the logged probabilities are right."""
    matched: float
    """Share of the decisions whose model the target might have chosen as well."""
    unsupported: float
    """Share of the target's choices that the log could never have drawn."""
    doubts: tuple[str, ...]
    """Why nothing can be said; empty where something can."""

    @property
    def enough(self) -> bool:
        """Whether the log can tell."""
        return not self.doubts


def support(sample: Sample, unsupported: FloatArray) -> Support:
    """Look at a sample.

    Parameters
    ----------
    unsupported : FloatArray
        (n,) probability of the target on models that had none under the log.
    """
    load, n = sample.load, len(sample)
    observed = int(sample.seen.sum())
    designed = float(n**2 / (sample.square / sample.observation).sum()) if n and sample.square.any() else 0.0
    effective = min(effective_size(load), designed)
    total = float(load.sum())
    share = float(load.max()) / total if total > 0 else 0.0
    mean = float(sample.weight.mean()) if n else 0.0
    error = math.sqrt(max(float(sample.square.mean()) - 1.0, 0.0) / n) if n else 0.0
    beyond = float(unsupported.mean()) if n else 0.0
    doubts = []
    if n == 0:
        doubts.append("no decision was drawn by a policy")
    elif observed == 0:
        doubts.append("no outcome was observed")
    elif effective < LEAST_EFFECTIVE:
        doubts.append(f"the log holds as much as {effective:.0f} outcomes about this policy; {LEAST_EFFECTIVE:.0f} are needed")
    elif share > MOST_IN_ONE:
        doubts.append(f"one decision carries {share:.0%} of the weight; {MOST_IN_ONE:.0%} is the most that is accepted")
    if beyond > MOST_UNSUPPORTED:
        doubts.append(f"{beyond:.0%} of its choices could never have been drawn; {MOST_UNSUPPORTED:.0%} is the most that is accepted")
    if n and abs(mean + beyond - 1.0) > _MOST_STRANGE * max(error, 1e-3):
        doubts.append(f"the weights average {mean:.3f} where {1.0 - beyond:.3f} is due: the logged probabilities do not fit the choices")
    return Support(
        decisions=n,
        observed=observed,
        effective=effective,
        largest_share=share,
        largest_weight=float(sample.weight.max()) if n else 0.0,
        mean_weight=mean,
        matched=float((sample.weight > 0).mean()) if n else 0.0,
        unsupported=beyond,
        doubts=tuple(doubts),
    )


def observation_probability(seen: FloatArray, group: IntArray, prior: float = 10.0) -> FloatArray:
    """(n,) probability that an outcome is observed, estimated per group and drawn to the overall one by ``prior`` decisions.

    Parameters
    ----------
    seen : FloatArray
        (n,) 1 where observed.
    group : IntArray
        (n,) number of the group (model and task type) that missingness may depend on.
    """
    n = len(seen)
    if n == 0:
        return np.zeros(0)
    rate = max(float(seen.mean()), 1.0 / (n + 1))
    _, index = np.unique(group, return_inverse=True)
    count, hits = np.bincount(index), np.bincount(index, seen)
    estimate: FloatArray = ((hits + prior * rate) / (count + prior))[index]
    return np.minimum(estimate, 1.0)
