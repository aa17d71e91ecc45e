"""Says what a choice expects, why it was made, and what would have flipped it."""

import math
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray
from learning.choice import Z90, Estimates, Preference
from learning.policies import Beliefs
from learning.quality import bounded, shown
from router.domain.decisions import Alternative, Estimate, Expected
from router.domain.eligibility import usd

_SHOWN = 5
"""Alternatives that an answer lists."""


def _positive(mean: float, variance: float) -> Estimate | None:
    """Interval of a positive quantity from the variance of its logarithm's expectation (delta method)."""
    if math.isnan(mean):
        return None
    spread = math.exp(Z90 * math.sqrt(max(variance, 0.0)) / mean) if mean > 0 else 1.0
    return Estimate(mean, mean / spread, mean * spread)


def expected(estimates: Estimates, i: int) -> Expected:
    """Means with 90 % intervals of the i-th model."""
    return Expected(
        quality=Estimate(*shown(float(estimates.quality[i]), math.sqrt(max(float(estimates.quality_interval_var[i]), 0.0)))),
        cost_usd=_positive(float(estimates.cost[i]), float(estimates.cost_var[i])),
        latency_s=_positive(float(estimates.latency[i]), float(estimates.latency_var[i])),
    )


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was expected of one eligible model, and what that was worth to the request."""

    model: str
    expected: Expected
    failure_rate: float
    utility: float
    utility_sd: float
    """Of the belief, before it is tempered."""
    probability_best: float


def weighed(about: Beliefs, estimates: Estimates) -> tuple[Weighed, ...]:
    """Every eligible model, in order."""
    sd, best = np.broadcast_to(about.sd, about.mean.shape), about.probability_best
    return tuple(
        Weighed(model, expected(estimates, i), float(estimates.failure[i]), float(about.mean[i]), float(sd[i]), float(best[i]))
        for i, model in enumerate(about.models)
    )


def reason_of(chosen: int, about: Beliefs, estimates: Estimates, relaxed: tuple[str, ...]) -> str:
    """One sentence on why the chosen model was drawn."""
    best = about.best()
    cost = "unknown cost" if math.isnan(estimates.cost[chosen]) else usd(float(estimates.cost[chosen]))
    facts = f"quality {bounded(float(estimates.quality[chosen])):.2f}, {cost}, {estimates.latency[chosen]:.1f} s expected"
    if len(about.models) == 1:
        text = f"the only eligible model: {facts}"
    elif chosen == best:
        text = f"best expected utility of {len(about.models)} eligible models: {facts}"
    else:
        gap = float(about.mean[best] - about.mean[chosen])
        text = f"explored: {facts}; {about.models[best]} is expected to be better by {gap:.3f} utility, and that is not certain"
    return text if not relaxed else f"{text}; no model met every limit, so these were given up: {', '.join(relaxed)}"


def alternatives(
    chosen: int, about: Beliefs, estimates: Estimates, preference: Preference, propensities: FloatArray, best: FloatArray
) -> tuple[Alternative, ...]:
    """The next models by expected utility, each with what would have made it the first."""
    order = [i for i in np.argsort(-about.mean, kind="stable")[: _SHOWN + 1].tolist() if i != chosen][:_SHOWN]
    top = float(about.mean.max())
    return tuple(
        Alternative(
            model=about.models[i],
            expected=expected(estimates, i),
            utility=float(about.mean[i]),
            propensity=float(propensities[i]),
            probability_best=float(best[i]),
            flip=_flip(top - float(about.mean[i]), float(estimates.cost[i]), preference),
        )
        for i in order
    )


def _flip(gap: float, cost: float, preference: Preference) -> str:
    if gap <= 0:
        return "it has the highest expected utility; the draw explored another"
    ways = []
    if preference.quality and gap / preference.quality < 1:
        ways.append(f"quality higher by {gap / preference.quality:.3f}")
    if preference.cost_per_usd and gap / preference.cost_per_usd < cost:
        ways.append(f"cost lower by {usd(gap / preference.cost_per_usd)}")
    return " or ".join(ways) + " would make it the first" if ways else "no change of its quality or cost alone would make it the first"
