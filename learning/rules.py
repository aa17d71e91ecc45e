"""From a posterior to what a person can read: per task type, which model is preferred, how sure that is, what would change it.

Rules describe and never act: decisions are drawn from the posterior itself. They speak of the mean task among those scored so far of
the type (where none was: 1,000 input tokens, no special needs); the expected cost and latency are those of such a task.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Z90, Estimates, Offers, Preference, beliefs, estimate
from learning.features import TYPICAL_CONTEXT_TOKENS, decoded_context_tokens, encode
from learning.policies import Beliefs
from learning.posterior import Posterior
from learning.propensities import best_probabilities
from learning.quality import shown
from learning.targets import Target

_TOLERANCE = 0.01
"""Loss of quality, or its worth in utility, that does not matter."""
_SETTLED, _LEANING = 0.95, 0.8
_ENOUGH_SCORES = 30
_NO_EVIDENCE = 5
_LARGEST_PRICE_FACTOR = 100.0
"""Beyond it a change of price is not worth mentioning beside another way."""


class Status(StrEnum):
    """How far the evidence carries a recommendation."""

    SETTLED = "settled"
    """Best within 0.01 with probability >= 0.95, and 30 scores in force behind it and behind the runner-up."""
    LEANING = "leaning"
    """The same with probability >= 0.8, or with fewer scores."""
    CONTESTED = "contested"
    PRIOR_ONLY = "prior-only"
    """Fewer than five scores in force of the recommended model on this task type: no evidence about the type."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 90 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelPreference:
    """What is believed about one model on one task type."""

    model: str
    quality: Interval
    cost_usd: float | None
    """Expected, of a typical call; None where neither price nor bill is known."""
    latency_s: float | None
    n: int
    """Scores on this task type."""
    probability_best: float
    utility: float
    utility_sd: float
    """Of what is believed about its mean."""


@dataclass(frozen=True, slots=True)
class TaskPreferences:
    """The models on one task type, the preferred first."""

    task_type: str
    n: int
    """Scores of the listed models on this task type."""
    status: Status
    recommended: str | None
    """None where no model is offered."""
    runner_up: str | None
    difference: Interval | None
    """Utility of the recommended model minus that of the runner-up."""
    flip: str
    """The change that would make the runner-up the recommendation, as a sentence."""
    models: tuple[ModelPreference, ...]


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """All task types, by name, as of log position ``seq``."""

    seq: int
    digest: str
    policy: str
    policy_version: str
    task_types: tuple[TaskPreferences, ...]


def report(
    posterior: Posterior,
    offers: Callable[[str], Offers],
    preference: Preference,
    *,
    digest: str,
    policy: str,
    policy_version: str,
    task_type: str | None = None,
) -> PolicyReport:
    """Preferences on every task type with evidence, or on ``task_type`` alone (which may be new); ``offers`` per task type."""
    names = sorted(posterior.task_types) if task_type is None else [task_type]
    return PolicyReport(
        seq=posterior.seq,
        digest=digest,
        policy=policy,
        policy_version=policy_version,
        task_types=tuple(preferences(posterior, offers(name), name, preference) for name in names),
    )


def preferences(posterior: Posterior, offers: Offers, task_type: str, preference: Preference) -> TaskPreferences:
    """What is preferred on one task type, for its mean task and the given weights."""
    if not len(offers.models):
        return TaskPreferences(task_type, 0, Status.PRIOR_ONLY, None, None, None, "no model is offered", ())
    features = _mean_task(posterior, task_type)
    expected = estimate(posterior, offers, task_type, features, decoded_context_tokens(features))
    about = beliefs(offers, expected, preference)
    scores, in_force = _scores(posterior, offers, task_type)
    order = np.argsort(-about.mean, kind="stable")
    first, second = int(order[0]), int(order[1]) if len(order) > 1 else None
    return TaskPreferences(
        task_type=task_type,
        n=round(float(scores.sum())),
        status=_status(about, in_force, first, second, _TOLERANCE * (preference.quality or 1.0)),
        recommended=about.models[first],
        runner_up=None if second is None else about.models[second],
        difference=None if second is None else _difference(about, first, second),
        flip=_flip(about, expected, preference, first, second),
        models=_listed(about, expected, scores, order),
    )


def _mean_task(posterior: Posterior, task_type: str) -> FloatArray:
    """(d,) mean features of the tasks scored so far, whoever did them; what was forgotten counts less."""
    task = posterior.task(task_type)
    cells = posterior.cells[:, task]
    cells = cells[cells > 0]
    target = posterior.targets[Target.QUALITY]
    # pulled = kappa * sum of features, cell_variance = kappa * noise
    total: FloatArray = (target.pulled[cells] / target.cell_variance[cells, None]).sum(axis=0)
    return total / total[0] if len(cells) and total[0] * target.noise[task] >= 1.0 else encode(TYPICAL_CONTEXT_TOKENS)


def _scores(posterior: Posterior, offers: Offers, task_type: str) -> tuple[FloatArray, FloatArray]:
    """(n,) scores ever given on the task type, and how many of them forgetting has left in force."""
    task = posterior.task(task_type)
    cells = posterior.cells[offers.index, task]
    target = posterior.targets[Target.QUALITY]
    # pulled = kappa * sum of weights, cell_variance = kappa * noise
    in_force = target.pulled[cells, 0] * target.noise[task] / target.cell_variance[cells]
    return posterior.scores(task)[offers.index], in_force


def within_probability(mean: FloatArray, sd: FloatArray, index: int, tolerance: float) -> float:
    """Probability that one of independent Gaussians is the highest or less than ``tolerance`` below it.

    Parameters
    ----------
    mean, sd : FloatArray
        (n,) each; sd > 0.

    Examples
    --------
    Two level models with standard deviations of 1: Phi(1 / sqrt(2)) for a tolerance of 1.

    >>> round(within_probability(np.zeros(2), np.ones(2), 0, 1.0), 3)
    0.76
    """
    ahead = mean.astype(np.float64, copy=True)
    ahead[index] += tolerance
    return float(best_probabilities(ahead, sd)[index])


def _status(about: Beliefs, in_force: FloatArray, first: int, second: int | None, tolerance: float) -> Status:
    if in_force[first] < _NO_EVIDENCE:
        return Status.PRIOR_ONLY
    likely = within_probability(about.mean, about.sd, first, tolerance)
    least = float(in_force[first] if second is None else min(in_force[first], in_force[second]))
    if likely >= _SETTLED and least >= _ENOUGH_SCORES:
        return Status.SETTLED
    return Status.LEANING if likely >= _LEANING else Status.CONTESTED


def _difference(about: Beliefs, first: int, second: int) -> Interval:
    gap = float(about.mean[first] - about.mean[second])
    half = Z90 * math.hypot(float(about.sd[first]), float(about.sd[second]))
    return Interval(gap, gap - half, gap + half)


def _flip(about: Beliefs, expected: Estimates, preference: Preference, first: int, second: int | None) -> str:
    winner = about.models[first]
    if second is None:
        return f"{winner} is the only model offered"
    rival, gap = about.models[second], float(about.mean[first] - about.mean[second])
    if gap <= 0:
        return f"{winner} and {rival} are level: any change decides"
    ways = []
    worth = preference.quality * (1.0 - float(expected.failure[first]))
    if worth and gap / worth <= expected.quality[first]:
        ways.append(f"the quality of {winner} fell by {_rounded_up(gap / worth)}")
    spent = preference.cost_per_usd * float(np.nan_to_num(expected.cost[first]))
    if spent > 0 and (1.0 + gap / spent <= _LARGEST_PRICE_FACTOR or not ways):
        ways.append(f"{'its price' if ways else f'the price of {winner}'} rose {_rounded_up(1.0 + gap / spent)}x")
    if not ways:
        return f"no change of the quality or the price of {winner} alone would bring {rival} to the front"
    return f"{rival} would be preferred if {' or '.join(ways)}"


def _rounded_up(value: float) -> str:
    """Two significant digits, never less than the value: the stated change is enough."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    shown = math.ceil(value / unit - 1e-9) * unit
    return f"{shown:.{max(0, -math.floor(math.log10(unit) + 0.5))}f}"


def _listed(about: Beliefs, expected: Estimates, scores: FloatArray, order: IntArray) -> tuple[ModelPreference, ...]:
    """All models, the preferred first, as plain numbers."""
    quality, deviation = expected.quality.tolist(), np.sqrt(np.maximum(expected.quality_interval_var, 0.0)).tolist()
    utility, sd, best = about.mean.tolist(), about.sd.tolist(), best_probabilities(about.mean, about.sd).tolist()
    cost, latency, n = expected.cost.tolist(), expected.latency.tolist(), np.rint(scores).astype(np.int64).tolist()
    return tuple(
        ModelPreference(
            model=about.models[i],
            quality=Interval(*shown(quality[i], deviation[i])),
            cost_usd=None if math.isnan(cost[i]) else cost[i],
            latency_s=None if math.isnan(latency[i]) else latency[i],
            n=n[i],
            probability_best=best[i],
            utility=utility[i],
            utility_sd=sd[i],
        )
        for i in order.tolist()
    )
