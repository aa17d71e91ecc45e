"""Which models may serve a task: first what each can do (``Screen``), then what it is expected to do (``within_limits``).

Pure and on the path of every request: a ``Screen`` is built once per catalogue version and remembers what the discrete needs
of earlier requests left over, so that a request usually pays for a look-up and a comparison of its length with the smallest window.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.quality import bounded
from router.domain.decisions import Exclusion
from router.domain.models import Capability, Modality, Model
from router.domain.tasks import Constraints, Task

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]

MIN_QUALITY_CONFIDENCE = 0.8
"""A model meets ``min_quality`` when it does so with this probability."""
_REMEMBERED = 512
"""Sets of discrete needs a screen remembers."""

_Needs = tuple[frozenset[Capability], frozenset[Modality], frozenset[str] | None, frozenset[str], frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Screened:
    """The models that can do a task, in the catalogue's order, and why each of the others cannot."""

    models: tuple[Model, ...]
    ids: tuple[str, ...]
    index: IntArray
    """Positions of ``models`` in the screen's models, shape (n_models,)."""
    excluded: tuple[Exclusion, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """What one set of discrete needs leaves over, whatever the length of the task."""

    screened: Screened
    windows: IntArray
    output_limits: IntArray
    smallest_window: int
    smallest_output_limit: int


class Screen:
    """Screens tasks against one fixed list of models.

    ``unavailable``: models that cannot be called, with the remedy. A provider with none that can be called is left out as a whole, in one
    sentence, as its models would be in every decision; those that a request allows by name are named.
    """

    def __init__(self, models: Iterable[Model], unavailable: Mapping[str, str] | None = None) -> None:
        self.models = tuple(models)
        self._unavailable = unavailable or {}
        self._absent = _absent(self.models, self._unavailable)
        self._groups: dict[_Needs, _Group] = {}

    def apply(self, task: Task) -> Screened:
        """Split the models into those that can do the task and those that cannot, with reasons."""
        limits = task.constraints
        needs: _Needs = (task.needs, task.modalities, limits.models, limits.exclude, limits.providers)
        group = self._groups.get(needs)
        if group is None:
            if len(self._groups) >= _REMEMBERED:
                self._groups.clear()
            group = self._groups[needs] = self._group(task)
        output = task.max_output_tokens if task.max_output_tokens is not None else task.expected_output_tokens or 0
        total = task.context_tokens + max(output, 1)
        if total <= group.smallest_window and output <= group.smallest_output_limit:
            return group.screened
        return _by_length(group, task.context_tokens, output, total)

    def _group(self, task: Task) -> _Group:
        kept: list[int] = []
        excluded = list(self._absent.values())
        named = task.constraints.models or frozenset()
        for i, model in enumerate(self.models):
            if model.provider in self._absent and model.id not in named:
                continue
            exclusion = _cannot(model, task, self._unavailable)
            if exclusion is None:
                kept.append(i)
            else:
                excluded.append(exclusion)
        models = tuple(self.models[i] for i in kept)
        windows = np.array([model.context_window for model in models], dtype=np.intp)
        outputs = np.array([model.max_output_tokens or model.context_window for model in models], dtype=np.intp)
        screened = Screened(models, tuple(model.id for model in models), np.array(kept, dtype=np.intp), tuple(excluded))
        return _Group(
            screened, windows, outputs, int(windows.min(initial=np.iinfo(np.intp).max)), int(outputs.min(initial=np.iinfo(np.intp).max))
        )


def screen(catalog_models: Iterable[Model], task: Task) -> tuple[list[Model], list[Exclusion]]:
    """Split models into those that can do a task and those that cannot. For one task; a service keeps a ``Screen``."""
    result = Screen(catalog_models).apply(task)
    return list(result.models), list(result.excluded)


def _absent(models: Sequence[Model], unavailable: Mapping[str, str]) -> dict[str, Exclusion]:
    """The providers of which no model can be called."""
    active = [model for model in models if not model.retired]
    called = {model.provider for model in active if model.id not in unavailable}
    counts = Counter(model.provider for model in active if model.provider not in called)
    remedies = {model.provider: unavailable[model.id] for model in active if model.provider in counts}
    return {
        provider: Exclusion(f"{provider}/*", "provider_unavailable", f"{provider} cannot be called ({n} models): {remedies[provider]}")
        for provider, n in sorted(counts.items())
    }


def unlisted(model: Model, limits: Constraints) -> Exclusion | None:
    """Why the request's own lists of models and providers leave a model out; None where they do not."""
    if limits.models is not None and model.id not in limits.models:
        return Exclusion(model.id, "not_allowed", f"{model.id} is not among the models that the request allows")
    if model.id in limits.exclude:
        return Exclusion(model.id, "excluded", f"{model.id} is on the request's exclude list")
    if limits.providers is not None and model.provider not in limits.providers:
        return Exclusion(model.id, "provider_not_allowed", f"{model.provider} is not among the providers that the request allows")
    return None


def _cannot(model: Model, task: Task, unavailable: Mapping[str, str]) -> Exclusion | None:
    """The first reason, in the order of the codes, why a model cannot do a task of any length."""
    if model.retired:
        return Exclusion(model.id, "retired", f"{model.id} was retired from the catalogue")
    if (out := unlisted(model, task.constraints)) is not None:
        return out
    if model.id in unavailable:
        return Exclusion(model.id, "provider_unavailable", f"{model.provider} cannot be called: {unavailable[model.id]}")
    if unread := task.modalities - model.modalities:
        return Exclusion(model.id, "modality", f"needs {_listed(unread)} input; {model.id} reads {_listed(model.modalities)}")
    if missing := task.needs - model.capabilities:
        return Exclusion(
            model.id, "capability", f"needs {_listed(missing)}; {model.id} offers {_listed(model.capabilities) or 'none of the kind'}"
        )
    return None


def _by_length(group: _Group, context: int, output: int, total: int) -> Screened:
    screened = group.screened
    fits = (group.windows >= total) & (group.output_limits >= output)
    excluded = list(screened.excluded)
    reasons: dict[tuple[int, int | None], str] = {}  # many models share a window: each sentence is written once
    for i in np.flatnonzero(~fits).tolist():
        model = screened.models[i]
        limits = (model.context_window, model.max_output_tokens)
        if (reason := reasons.get(limits)) is None:
            reason = reasons[limits] = _too_long(limits, context, output, total)
        excluded.append(Exclusion(model.id, "context_window", reason))
    kept = np.flatnonzero(fits)
    positions = kept.tolist()
    models = tuple(screened.models[i] for i in positions)
    return Screened(models, tuple(screened.ids[i] for i in positions), screened.index[kept], tuple(excluded))


def _too_long(limits: tuple[int, int | None], context: int, output: int, total: int) -> str:
    window, most = limits
    if total > window:
        return f"needs {total:,} tokens ({context:,} in and {total - context:,} out); the window is {window:,}"
    return f"needs {output:,} output tokens; the model writes at most {most:,}"


def _listed(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of each eligible model on this task: arrays of shape (n_models,) in their order; nan is unknown."""

    cost_usd: FloatArray
    """Mean cost of the call."""
    cost_p95_usd: FloatArray
    latency_p95_s: FloatArray
    quality: FloatArray
    """Posterior mean in [0, 1]."""
    quality_confidence: FloatArray
    """P(quality >= min_quality); read only where the task sets ``min_quality``."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The models within the limits."""

    keep: IntArray
    """Positions of the kept models among the eligible ones, ascending."""
    excluded: tuple[Exclusion, ...]
    relaxed: tuple[str, ...] = ()
    """Limits that no model met and that were therefore given up: quality_confidence, quality, latency."""


def within_limits(models: Sequence[Model], task: Task, forecast: Forecast) -> Limited:
    """Keep the models that meet the task's cost, latency and quality limits.

    Cost: the 95th percentile stays within ``max_cost_usd``; a model whose cost is unknown is out. Latency: the 95th percentile stays
    within the smaller of ``max_latency_s`` and the speed's limit. Quality: P(quality >= min_quality) is at least 0.8.
    Where nothing is left, quality need only be met on average, then not at all; where latency alone leaves nothing, latency is given up
    and quality is held as far as it can be. What was given up is named in ``relaxed``. Cost is never given up.
    """
    limits = task.constraints
    max_latency = _latency_limit(task)
    everything = np.ones(len(models), dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        cost = np.fmax(forecast.cost_p95_usd, forecast.cost_usd)  # an unknown percentile falls back to the mean; unknown fails every limit
        affordable = everything if limits.max_cost_usd is None else cost <= limits.max_cost_usd
        fast = everything if max_latency is None else forecast.latency_p95_s <= max_latency
        sure = everything if limits.min_quality is None else forecast.quality_confidence >= MIN_QUALITY_CONFIDENCE
        likely = everything if limits.min_quality is None else forecast.quality >= limits.min_quality
    kept, relaxed = _relax(affordable, fast, sure, likely)
    excluded: list[Exclusion] = []
    if limits.max_cost_usd is not None:
        excluded += _priced_out(models, affordable, cost, limits.max_cost_usd)
    if max_latency is not None and "latency" not in relaxed:
        p95 = forecast.latency_p95_s.tolist()
        excluded += _excluded(models, affordable & ~fast, "max_latency", lambda i: _slow(p95[i], max_latency))
    if limits.min_quality is not None and "quality" not in relaxed:
        held = likely if "quality_confidence" in relaxed else sure
        reachable = affordable if "latency" in relaxed else affordable & fast
        floor, mean, confidence = limits.min_quality, forecast.quality.tolist(), forecast.quality_confidence.tolist()
        excluded += _excluded(models, reachable & ~held, "min_quality", lambda i: _poor(mean[i], confidence[i], floor))
    excluded.sort(key=lambda exclusion: exclusion.model)
    return Limited(np.flatnonzero(kept), tuple(excluded), relaxed)


def _latency_limit(task: Task) -> float | None:
    stated = [limit for limit in (task.constraints.max_latency_s, task.speed.limit_s if task.speed else None) if limit is not None]
    return min(stated, default=None)


def _relax(affordable: BoolArray, fast: BoolArray, sure: BoolArray, likely: BoolArray) -> tuple[BoolArray, tuple[str, ...]]:
    for within, given_up in ((affordable & fast, ()), (affordable, ("latency",))):
        if not within.any():
            continue
        if (kept := within & sure).any():
            return kept, given_up
        if (kept := within & likely).any():
            return kept, ("quality_confidence", *given_up)
        return within, ("quality_confidence", "quality", *given_up)
    return affordable, ()


def _excluded(models: Sequence[Model], out: BoolArray, code: str, reason: Callable[[int], str]) -> list[Exclusion]:
    return [Exclusion(models[i].id, code, reason(i)) for i in np.flatnonzero(out).tolist()]


def _priced_out(models: Sequence[Model], affordable: BoolArray, cost: FloatArray, limit: float) -> list[Exclusion]:
    unknown, costs, of = np.isnan(cost), cost.tolist(), f"(95th percentile); the limit is {usd(limit)}"
    return [
        *_excluded(models, unknown, "price_unknown", lambda _: f"its price is unknown and no cost was observed; the limit is {usd(limit)}"),
        *_excluded(models, ~affordable & ~unknown, "max_cost", lambda i: f"may cost {usd(costs[i])} {of}"),
    ]


def _slow(p95_s: float, limit_s: float) -> str:
    if math.isnan(p95_s):
        return f"its latency is unknown; the limit is {limit_s:g} s"
    return f"may take {p95_s:.3g} s (95th percentile); the limit is {limit_s:g} s"


def _poor(mean: float, confidence: float, floor: float) -> str:
    if math.isnan(mean) or math.isnan(confidence):
        return f"its quality is unknown; {floor:.2f} is required"
    required = f"{MIN_QUALITY_CONFIDENCE:.0%} is required"
    return f"quality {bounded(mean):.2f} is expected and {floor:.2f} is reached with probability {confidence:.0%}; {required}"


def usd(amount: float) -> str:
    """An amount of money with three significant digits and never an exponent: $0.000123, $0.02, $12."""
    if 1e-4 <= amount < 1e3:
        return f"${amount:.3g}"
    return "$" + np.format_float_positional(amount, precision=3, fractional=False, trim="-")
