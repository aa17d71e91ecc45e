"""From posteriors to one choice: estimates in the task's own units, utility under the request's weights, probabilities, draw.

The service and the replay both decide through this module and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.distributions import ndtr
from learning.errors import InvalidContext
from learning.policies.protocol import Beliefs, Policy
from learning.posterior import Posterior
from learning.propensities import SCALE, draw, quantise
from learning.targets import Target

Z90 = 1.6448536269514722
"""Standard normal quantile of two-sided 90 % intervals and of one-sided 95 % limits."""
_MAX_LOG_VARIANCE = 2.0
"""Cap on the variance of a log quantity where it turns into a mean, so that ignorance is not read as expense."""
_LEAST_SD = 1e-6
_CAUTION = 3.0
"""Standard deviations count so many times where a model is held against the one that is known to do: what is believed of models that nobody
has tried is the least reliable of all."""


@dataclass(frozen=True, slots=True)
class Offers:
    """The n models that a decision is about, ordered by id.

    ``index`` (n,) their rows in the posterior; prices (n,) in USD per token, NaN where unknown.
    """

    models: Sequence[str]
    index: IntArray
    input_price: FloatArray
    output_price: FloatArray

    def take(self, keep: Sequence[int] | IntArray) -> "Offers":
        """The offers at the given positions."""
        rows = np.asarray(keep, dtype=np.int64)
        return Offers([self.models[i] for i in rows.tolist()], self.index[rows], self.input_price[rows], self.output_price[rows])


@dataclass(frozen=True, slots=True)
class Estimates:
    """Posterior expectations for one task, (n,) each; cost and latency are NaN where nothing is known."""

    quality: FloatArray
    quality_var: FloatArray
    quality_interval_var: FloatArray
    failure: FloatArray
    cost: FloatArray
    """USD, expected."""
    cost_var: FloatArray
    """Of the expectation."""
    cost_p95: FloatArray
    """USD, one-sided 95 % of a single call."""
    latency: FloatArray
    """Seconds, expected."""
    latency_var: FloatArray
    latency_p95: FloatArray
    eager: FloatArray
    """See ``Posterior.eager``."""

    def take(self, keep: Sequence[int] | IntArray) -> "Estimates":
        """The estimates at the given positions."""
        rows = np.asarray(keep, dtype=np.int64)
        return Estimates(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Preference:
    """utility = quality * E[q] (1 - failure) - cost_per_usd * E[cost] - latency_per_s * E[latency]"""

    quality: float = 1.0
    cost_per_usd: float = 0.0
    latency_per_s: float = 0.0

    def __post_init__(self) -> None:
        quality, cost, latency = self.quality, self.cost_per_usd, self.latency_per_s
        if not (0 <= quality < math.inf and 0 <= cost < math.inf and 0 <= latency < math.inf and (quality or cost or latency)):
            raise InvalidContext("weights must be finite and not negative, and one of them positive")


@dataclass(frozen=True, slots=True)
class Choice:
    """A draw and the law it came from."""

    index: int
    weights: IntArray
    """(n,) integers that sum to 2**24: the exact propensities."""

    @property
    def propensities(self) -> FloatArray:
        """(n,) exact probabilities."""
        p: FloatArray = self.weights / SCALE
        return p

    @property
    def propensity(self) -> float:
        """Probability with which the drawn model was drawn."""
        return float(self.weights[self.index]) / SCALE


def _log_normal(mean: FloatArray, variance: FloatArray, noise: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expectation, variance of the expectation and 95 % point of exp(N(mean, variance + noise))."""
    total = np.minimum(variance + noise, _MAX_LOG_VARIANCE)
    expected = np.exp(mean + total / 2)
    return expected, expected**2 * np.minimum(variance, 1.0), np.exp(mean + Z90 * np.sqrt(total))


def estimate(
    posterior: Posterior,
    offers: Offers,
    task_type: str,
    features: FloatArray,
    input_tokens: float,
    *,
    max_output_tokens: float = math.inf,
    cost: bool = True,
    latency: bool = True,
) -> Estimates:
    """What each offered model is expected to do on a task.

    Parameters
    ----------
    features : FloatArray
        (d,) of ``learning.features.encode``.
    cost, latency : bool
        False skips it (NaN), where nobody asks.
    """
    task, rows = posterior.task(task_type), offers.index
    quality, quality_var = posterior.predict_at(rows, Target.QUALITY, task, features)
    if cost:
        price, price_var, price_p95 = _cost(posterior, offers, task, features, input_tokens, max_output_tokens)
    else:
        price = price_var = price_p95 = np.full(len(rows), np.nan)
    if latency:
        log_s, log_s_var = posterior.predict_at(rows, Target.LATENCY, task, features)
        seconds, seconds_var, seconds_p95 = _log_normal(log_s, log_s_var, posterior.noise(Target.LATENCY, task))
    else:
        seconds = seconds_var = seconds_p95 = np.full(len(rows), np.nan)
    return Estimates(
        quality=quality,
        quality_var=quality_var,
        quality_interval_var=posterior.interval_variance(Target.QUALITY, task, quality_var, rows),
        failure=posterior.failure_rate[rows],
        cost=price,
        cost_var=price_var,
        cost_p95=price_p95,
        latency=seconds,
        latency_var=seconds_var,
        latency_p95=seconds_p95,
        eager=posterior.eager[rows, task],
    )


def _cost(
    posterior: Posterior, offers: Offers, task: int, features: FloatArray, input_tokens: float, max_output_tokens: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expected cost, its variance and the 95 % point, (n,) each, in USD."""
    rows = offers.index
    tokens, tokens_var, tokens_p95 = _output_tokens(posterior, rows, task, features)
    base = offers.input_price * input_tokens
    cost = base + offers.output_price * np.minimum(tokens, max_output_tokens)
    cost_var = offers.output_price**2 * tokens_var
    cost_p95 = base + offers.output_price * np.minimum(tokens_p95, max_output_tokens)
    unpriced = np.isnan(cost).nonzero()[0]
    if len(unpriced):
        _price_by_experience(posterior, task, features, rows, unpriced, (cost, cost_var, cost_p95))
    return cost, cost_var, cost_p95


def _output_tokens(posterior: Posterior, rows: IntArray, task: int, features: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    mean, variance = posterior.predict_at(rows, Target.OUTPUT_TOKENS, task, features)
    return _log_normal(mean, variance, posterior.noise(Target.OUTPUT_TOKENS, task))


def output_tokens(posterior: Posterior, offers: Offers, task_type: str, features: FloatArray) -> FloatArray:
    """(n,) output tokens that each offered model is expected to write."""
    return _output_tokens(posterior, offers.index, posterior.task(task_type), features)[0]


def _price_by_experience(
    posterior: Posterior,
    task: int,
    features: FloatArray,
    rows: IntArray,
    unpriced: IntArray,
    out: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    """Fill in the cost of models without a price from what their calls were billed; NaN stays where none was."""
    billed = unpriced[posterior.billed[rows[unpriced]] > 0]
    if len(billed):
        mean, variance = posterior.predict_at(rows[billed], Target.COST, task, features)
        for column, values in zip(out, _log_normal(mean, variance, posterior.noise(Target.COST, task)), strict=True):
            column[billed] = values


def beliefs(offers: Offers, estimates: Estimates, preference: Preference) -> Beliefs:
    """Utilities as Gaussians. A model whose cost nobody knows counts as the dearest of those known."""
    reliable = 1.0 - estimates.failure
    mean = preference.quality * estimates.quality * reliable
    variance = (preference.quality * reliable) ** 2 * estimates.quality_var
    if preference.cost_per_usd:
        cost, cost_var = estimates.cost, estimates.cost_var
        unknown = np.isnan(cost)
        if unknown.any():
            cost = np.where(unknown, np.nanmax(cost) if not unknown.all() else 0.0, cost)
            cost_var = np.where(unknown, 0.0, cost_var)
        mean = mean - preference.cost_per_usd * cost
        variance = variance + preference.cost_per_usd**2 * cost_var
    if preference.latency_per_s:
        mean = mean - preference.latency_per_s * estimates.latency
        variance = variance + preference.latency_per_s**2 * estimates.latency_var
    return Beliefs(offers.models, mean, np.sqrt(np.maximum(variance, _LEAST_SD**2)), estimates.eager)


@dataclass(frozen=True, slots=True)
class Restraint:
    """What one decision may cost in expectation for the sake of learning; None sets no limit."""

    quality: float | None = None
    """Points of expected quality given up."""
    usd: float | None = None
    """Expected dollars on top."""

    def __post_init__(self) -> None:
        if any(limit is not None and not (math.isfinite(limit) and limit >= 0) for limit in (self.quality, self.usd)):
            raise InvalidContext("limits of exploration must be finite and not negative")


def tighter(one: Restraint | None, other: Restraint | None) -> Restraint | None:
    """Both limits at once."""
    if one is None or other is None:
        return one or other
    both = ((one.quality, other.quality), (one.usd, other.usd))
    return Restraint(*(min((limit for limit in pair if limit is not None), default=None) for pair in both))


def restrained(p: FloatArray, about: Beliefs, estimates: Estimates, restraint: Restraint) -> FloatArray:
    """Mix probabilities with the greedy choice, just as far as the limits ask.

    The expected loss of ``s p + (1 - s) greedy`` is s times that of p, so that the largest s within every limit is a division. What is
    lost is counted against the model with the highest expected utility, gains of some models against it left aside.
    """
    best = about.best()
    shares = [1.0]
    for limit, expected in zip((restraint.quality, restraint.usd), given_up(p, about, estimates), strict=True):
        if limit is not None and expected > limit:
            shares.append(limit / expected)
    return _towards(best, p, min(shares))


def given_up(p: FloatArray, about: Beliefs, estimates: Estimates) -> tuple[float, float]:
    """Expected points of quality and dollars that a draw costs against the model with the highest expected utility."""
    best = about.best()
    quality, usd = estimates.quality[best] - estimates.quality, np.nan_to_num(estimates.cost - estimates.cost[best])
    return float(p @ np.maximum(quality, 0.0)), float(p @ np.maximum(usd, 0.0))


@dataclass(frozen=True, slots=True)
class Safeguard:
    """A model that is known to do, and how far below it a decision may be expected to fall."""

    model: str
    shortfall: float
    """Utility."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shortfall) and self.shortfall >= 0):
            raise InvalidContext("the shortfall must be finite and not negative")


def safeguarded(p: FloatArray, about: Beliefs, safe: Safeguard) -> FloatArray:
    """Mix probabilities with the safe model, just as far as its limit asks; unchanged where that model is not eligible.

    Model m falls short by E[(u_safe - u_m)+], which doubt, counted threefold, raises: a model that nothing is known of is tried seldom,
    one that has proved as good as the safe model freely, and one that has proved better always.
    """
    if safe.model not in about.models:
        return p
    at = about.models.index(safe.model)
    gap, sd = about.mean[at] - about.mean, _CAUTION * np.hypot(about.sd[at], about.sd)
    z = gap / sd
    short = sd * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) + gap * ndtr(z)
    short[at] = 0.0
    expected = float(p @ short)
    return p if expected <= safe.shortfall else _towards(at, p, safe.shortfall / expected)


def _towards(index: int, p: FloatArray, share: float) -> FloatArray:
    """Keep a share of the probabilities and give the rest to one model."""
    if share == 1.0:
        return p
    mixed: FloatArray = share * p
    mixed[index] += 1.0 - share
    return mixed


def choose(
    policy: Policy,
    about: Beliefs,
    u: int,
    estimates: Estimates | None = None,
    restraint: Restraint | None = None,
    safe: Safeguard | None = None,
) -> Choice:
    """Draw one model.

    Parameters
    ----------
    u : int
        24 uniform bits, see ``learning.propensities.uniform_draw``.
    estimates, restraint
        Both, where exploration has limits.
    safe
        Where one model is known to do.
    """
    p = policy.propensities(about)
    if restraint is not None and estimates is not None:
        p = restrained(p, about, estimates, restraint)
    if safe is not None:
        p = safeguarded(p, about, safe)
    weights = quantise(p)
    return Choice(draw(weights, u), weights)
