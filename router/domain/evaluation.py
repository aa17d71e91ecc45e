"""What a log says about a candidate: value, traffic, the difference to what was done, and whether it can tell at all."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Estimates
from learning.evaluation.diagnostics import Support, observation_probability, support
from learning.evaluation.estimators import Sample, designed_variance, direct, doubly_robust, inverse_propensity, self_normalised
from learning.evaluation.intervals import LEVEL, Interval, always_valid, asymptotic, motion
from learning.quality import bounded
from router.domain.candidates import Candidate
from router.domain.recall import Result
from router.domain.tasks import Weights

QUALITY, COST, LATENCY = range(3)
NAMES = ("quality", "cost_usd", "latency_s")
_CAPS = (2.0, 5.0, 20.0)
"""Of clipped weights, shown for sensitivity."""
_FEWEST = 2
_TOGETHER = 1.0 - (1.0 - LEVEL) / len(NAMES)
"""Level of each interval of a what-if, so that those of quality, cost and latency hold together with 95 %."""
_ROUNDING = 1e-6
"""Differences below what 24-bit probabilities can tell."""


@dataclass(frozen=True, slots=True)
class Look:
    """One drawn decision and what the candidate would have drawn from instead; arrays (n,) in the order of ``models``."""

    task_type: str
    models: tuple[str, ...]
    drawn: int
    logged: FloatArray
    """Probabilities as logged; 0 for a model that only the candidate could choose."""
    target: FloatArray
    """Probabilities under the candidate."""
    now: FloatArray
    """(n, 3) quality, cost and latency expected of each model then."""
    then: FloatArray
    """(n, 3) the same under the candidate's prices."""
    result: Result
    cost_then: float | None
    """What it would have cost under the candidate's prices."""
    weights: FloatArray
    """(3,) what one unit of quality, one USD and one second are worth to the request, as the candidate values them."""
    at: float
    episode: str | None = None


def expectations(estimates: Estimates) -> FloatArray:
    """(n, 3) expected quality (a failed call is worth nothing), cost and latency; NaN where nothing is known."""
    return np.column_stack([estimates.quality * (1.0 - estimates.failure), estimates.cost, estimates.latency])


def worth(weights: Weights, references: Sequence[float]) -> FloatArray:
    """(3,) utility of one unit of quality, one USD and one second."""
    cost, latency = references
    return np.array([weights.quality, -weights.cost / cost, -weights.latency / latency])


@dataclass(frozen=True, slots=True)
class Value:
    """One quantity per decision, as it was and as it would be. ``then`` and what follows are None where the log cannot tell."""

    now: Interval | None
    then: Interval | None
    difference: Interval | None
    """Paired: then less now, on the same decisions."""
    difference_any_time: Interval | None
    """The same, valid however often one looks."""
    estimators: dict[str, float]
    """Other estimates of ``then``. Clipped ones are biased: they show how much hangs on rare draws."""
    support: Support


@dataclass(frozen=True, slots=True)
class Traffic:
    """Share of the decisions that a model gets, as it was and as it would be."""

    model: str
    now: float
    then: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate against what was done."""

    candidate: str
    verdict: str
    """better, worse, no difference shown, cannot tell: of utility, at 95 %."""
    doubts: tuple[str, ...]
    """Why the log cannot tell, and what the figures leave out."""
    decisions: int
    not_drawn: int
    """Fallbacks and other forced decisions among those looked at: no estimate uses them."""
    since: float | None
    until: float | None
    utility: Value | None
    quality: Value | None
    cost_usd: Value | None
    latency_s: Value | None
    traffic: tuple[Traffic, ...]


def compare(looks: Sequence[Look], candidate: Candidate, *, not_drawn: int = 0, not_recomputed: int = 0, ahead: bool = False) -> Comparison:
    """Estimate a candidate's value from the decisions that were drawn.

    ``not_recomputed``: drawn decisions of which the log does not say what they were taken by.
    ``ahead``: the intervals of ``now`` and ``then`` are to hold, together, what as many future decisions will show; else, each holds what
    these very decisions would have been worth.
    """
    if len(looks) < _FEWEST:
        doubt = "fewer than two decisions were drawn by a policy; forced ones and fallbacks tell nothing about another policy"
        nothing = (None, None, None, None, None, None)
        return Comparison(candidate.told, "cannot tell", (doubt, *_lost(not_recomputed)), len(looks), not_drawn, *nothing, ())
    target = _capped(looks, candidate)
    doubts = _lost(not_recomputed)
    parts = [_quantity(looks, target, k) for k in range(3)]
    for name, part in zip(NAMES, parts, strict=True):
        if part is None:
            doubts.append(f"no {name} was ever reported: it is left out, of utility too")
    cluster = _clusters(looks)
    values = [None if part is None else _value(part, cluster, ahead) for part in parts]
    quality = values[QUALITY]
    utility = _utility(looks, parts, cluster, ahead)
    if utility is not None:
        doubts += utility.support.doubts
    return Comparison(
        candidate=candidate.told,
        verdict=_verdict(utility),
        doubts=tuple(doubts),
        decisions=len(looks),
        not_drawn=not_drawn,
        since=min(look.at for look in looks),
        until=max(look.at for look in looks),
        utility=utility,
        quality=None if quality is None else replace(quality, now=_shown(quality.now), then=_shown(quality.then)),
        cost_usd=values[COST],
        latency_s=values[LATENCY],
        traffic=_traffic(looks, target),
    )


def _shown(quality: Interval | None) -> Interval | None:
    return None if quality is None else Interval(bounded(quality.mean), bounded(quality.low), bounded(quality.high))


def _lost(count: int) -> list[str]:
    told = f"{count:,} drawn decisions are left out: the log does not say what they were taken by, or another release took them"
    return [told] if count else []


@dataclass(frozen=True, slots=True)
class _Part:
    """One quantity: the candidate's sample and that of the logging policy, both with their doubly robust terms."""

    then: Sample
    now: Sample
    support: Support
    then_terms: FloatArray
    now_terms: FloatArray


def _capped(looks: Sequence[Look], candidate: Candidate) -> list[FloatArray]:
    """The target probabilities with the caps kept on average: what a model may not have goes to the others in proportion."""
    target = [look.target for look in looks]
    for model, cap in sorted(candidate.caps.items()):
        got = [float(p[look.models.index(model)]) for p, look in zip(target, looks, strict=True) if model in look.models]
        share = math.fsum(got) / len(looks)
        if share > cap:
            target = [_thinned(p, look.models, model, cap / share) for p, look in zip(target, looks, strict=True)]
    return target


def _thinned(p: FloatArray, models: tuple[str, ...], model: str, kept: float) -> FloatArray:
    if model not in models:
        return p
    i = models.index(model)
    others = 1.0 - float(p[i])
    spread = p / others if others > 1e-9 else np.full(len(p), 1.0 / max(len(p) - 1, 1))
    if len(p) == 1:
        return p  # nobody else could do it
    thinned = p + (1.0 - kept) * float(p[i]) * spread
    thinned[i] = kept * float(p[i])
    return thinned


def _quantity(looks: Sequence[Look], target: Sequence[FloatArray], k: int) -> _Part | None:
    value_now = np.array([_number(_of(look.result, k)) for look in looks])
    if np.isnan(value_now).all():
        return None
    value_then = np.array([_number(look.cost_then) for look in looks]) if k == COST else value_now
    fill = float(np.nanmean(value_now))  # of models that nobody has called yet: any number keeps the estimate unbiased
    columns: list[tuple[float, ...]] = []
    for look, pi in zip(looks, target, strict=True):
        p, i = look.logged, look.drawn
        before, after = (np.nan_to_num(expected[:, k], nan=fill) for expected in (look.now, look.then))
        square = float(np.divide(pi**2, p, out=np.zeros(len(p)), where=p > 0).sum())
        beyond = float(pi[p == 0].sum())
        columns.append((float(pi[i] / p[i]), before[i], after[i], float(p @ before), float(pi @ after), square, beyond))
    weight, fitted_now, fitted_then, own, expected, square, unsupported = np.array(columns).T
    _, group = np.unique([f"{look.task_type}\0{look.models[look.drawn]}" for look in looks], return_inverse=True)
    ones = np.ones(len(looks))
    then = Sample(weight, value_then, _observed(looks, value_then, group, k), fitted_then, expected, square)
    now = Sample(ones, value_now, _observed(looks, value_now, group, k), fitted_now, own, ones)
    return _Part(then, now, support(then, unsupported), doubly_robust(then), doubly_robust(now))


def _of(result: Result, k: int) -> float | None:
    return (result.quality, result.cost_usd, result.latency_s)[k]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _observed(looks: Sequence[Look], value: FloatArray, group: IntArray, k: int) -> FloatArray:
    """Probability of being observed: as logged where whoever scored says, else as often as such decisions are."""
    seen = ~np.isnan(value)
    sampling = np.array([_number(look.result.sampling) if look.result.failed is not True else 1.0 for look in looks])
    if k == QUALITY and not np.isnan(sampling[seen]).any() and (sampling[seen] > 0).all():
        drawn = sampling[seen & (sampling < 1.0)]
        return np.where(seen, np.nan_to_num(sampling, nan=1.0), float(drawn.mean()) if len(drawn) else 1.0)
    return observation_probability(seen.astype(np.float64), group)


def _clusters(looks: Sequence[Look]) -> IntArray | None:
    if not any(look.episode for look in looks):
        return None
    _, index = np.unique([look.episode or f"\0{i}" for i, look in enumerate(looks)], return_inverse=True)
    return index


def _value(part: _Part, cluster: IntArray | None, ahead: bool) -> Value:
    def interval(terms: FloatArray, sample: Sample, effective: float | None) -> Interval:
        return asymptotic(
            terms,
            around=0.0 if ahead else sample.expected,
            effective=effective,
            cluster=cluster,
            least=designed_variance(sample),
            beyond=_future(sample) if ahead else 0.0,
            level=_TOGETHER if ahead else LEVEL,
        )

    now = interval(part.now_terms, part.now, None) if part.now.seen.sum() >= _FEWEST else None
    told = _estimators(part.then)
    if not part.support.enough:
        return Value(now, None, None, None, told, part.support)
    around = 0.0 if ahead else part.then.expected - part.now.expected
    gain = part.then_terms - part.now_terms
    return Value(
        now=now,
        then=interval(part.then_terms, part.then, part.support.effective),
        difference=asymptotic(gain, around=around, effective=part.support.effective, cluster=cluster),
        difference_any_time=always_valid(gain, around=around),
        estimators=told,
        support=part.support,
    )


def _future(sample: Sample) -> float:
    """Variance of the mean of as many outcomes to come: their own noise, and the motion of what is learned."""
    return float(np.nanvar(sample.value)) / len(sample) + motion(sample.expected)


def _estimators(sample: Sample) -> dict[str, float]:
    kinds: dict[str, Callable[[Sample], FloatArray]] = {
        "doubly_robust": doubly_robust,
        "inverse_propensity": inverse_propensity,
        "self_normalised": self_normalised,
        "direct": direct,
    }
    told = {name: float(terms(sample).mean()) for name, terms in kinds.items()}
    return told | {f"clipped_at_{cap:g}": float(doubly_robust(sample, cap).mean()) for cap in _CAPS}


def _utility(looks: Sequence[Look], parts: Sequence[_Part | None], cluster: IntArray | None, ahead: bool) -> Value | None:
    """The sum of the quantities, each at its worth; as well supported as the least supported one that counts."""
    worths = np.array([look.weights for look in looks])  # (n, 3)
    counted = [(k, part) for k, part in enumerate(parts) if part is not None and worths[:, k].any()]
    if not counted:
        return None
    n = len(looks)
    then, now, expected, own, least = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), 0.0
    told: dict[str, float] = {}
    for k, part in counted:
        w = worths[:, k]
        then, now = then + w * part.then_terms, now + w * part.now_terms
        expected, own = expected + w * part.then.expected, own + w * part.now.expected
        least += float((w**2).mean()) * designed_variance(part.then)
        for name, mean in _estimators(part.then).items():
            told[name] = told.get(name, 0.0) + float(w.mean()) * mean
    weakest = min((part.support for _, part in counted), key=lambda s: (s.enough, s.effective))
    around_now, around_then = (0.0, 0.0) if ahead else (own, expected)
    current = asymptotic(now, around=around_now, cluster=cluster)
    if not weakest.enough:
        return Value(current, None, None, None, told, weakest)
    gain, around = then - now, 0.0 if ahead else expected - own
    return Value(
        now=current,
        then=asymptotic(then, around=around_then, effective=weakest.effective, cluster=cluster, least=least),
        difference=asymptotic(gain, around=around, effective=weakest.effective, cluster=cluster),
        difference_any_time=always_valid(gain, around=around),
        estimators=told,
        support=weakest,
    )


def _verdict(utility: Value | None) -> str:
    if utility is None or utility.difference is None:
        return "cannot tell"
    if utility.difference.low > _ROUNDING:
        return "better"
    return "worse" if utility.difference.high < -_ROUNDING else "no difference shown"


def _traffic(looks: Sequence[Look], target: Sequence[FloatArray]) -> tuple[Traffic, ...]:
    n = len(looks)
    models = sorted({model for look in looks for model in look.models})
    index = {model: i for i, model in enumerate(models)}
    now, then, square = np.zeros(len(models)), np.zeros(len(models)), np.zeros(len(models))
    for look, pi in zip(looks, target, strict=True):
        at = [index[model] for model in look.models]
        now[index[look.models[look.drawn]]] += 1
        then[at] += pi
        square[at] += pi
    then, now = then / n, now / n
    half = 1.96 * np.sqrt(np.maximum(then * (1.0 - then), 0.0) / n)
    found = [
        Traffic(m, float(now[i]), Interval(float(then[i]), max(0.0, float(then[i] - half[i])), min(1.0, float(then[i] + half[i]))))
        for m, i in index.items()
        if now[i] > 0 or then[i] > 1e-6
    ]
    return tuple(sorted(found, key=lambda one: -one.then.mean))


@dataclass(frozen=True, slots=True)
class Loss:
    """Given up per decision, and by all of them together: positive where the choice was worse."""

    utility: float
    quality: float
    """In [0, 1]; 0.01 is a point."""
    cost_usd: float
    latency_s: float
    total_utility: float
    total_quality: float
    total_usd: float


@dataclass(frozen=True, slots=True)
class Exploration:
    """What learning cost: drawn choices against the best expected ones."""

    decisions: int
    explored: float
    """Share of the decisions that were not the best by what was believed then."""
    then: Loss | None
    """Against the best by what was believed at each decision: the price of exploring."""
    now: Loss | None
    """Against the best by what is believed today: the realised regret, what was not known yet included."""


def loss(chosen: FloatArray, best: FloatArray, weights: FloatArray) -> Loss:
    """From (n, 3) expectations of the chosen and of the best model and the worth (n, 3) of one unit of each."""
    gap = np.nan_to_num(best - chosen)
    utility = (gap * weights).sum(axis=1)
    quality, cost, latency = gap.mean(axis=0).tolist()
    n = len(gap)
    mean = float(utility.mean())
    return Loss(mean, quality, -cost, -latency, mean * n, quality * n, -cost * n)
