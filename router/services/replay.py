"""One online pass over recorded outcomes with the service's own learner and decision code: what would have happened."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Estimates, Offers, Preference, beliefs, choose, estimate
from learning.errors import LearningError
from learning.features import encode
from learning.learner import ArmFacts, Learner
from learning.pacing import Pacer
from learning.policies import Policy, make
from learning.propensities import uniform_draw
from learning.statistics import Observation
from learning.targets import Target
from router.domain.outcome_table import OutcomeTable
from router.errors import TaskInvalid

RECORDS_PER_DECISION = 3
"""Log records of a fully reported decision: itself, its outcome, its feedback. The learner's clock counts records."""
_ASSUMED_TOKENS = 1_000
"""Tokens behind one call where a table tells its cost only."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to make the pass. utility = quality_weight * q - cost_weight * usd / c_ref - latency_weight * s / t_ref."""

    policy: str = "thompson"
    quality_weight: float = 1.0
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    budget_usd_per_request: float | None = None
    feedback_rate: float = 1.0
    seed: int = 0
    order: str = "shuffle"
    baseline: str | None = None
    half_life_decisions: float = 8_000.0


@dataclass(frozen=True, slots=True)
class Trace:
    """One decision of the pass, JSON-ready in this order."""

    i: int
    prompt_id: str
    task_type: str
    model: str
    propensity: float
    quality: float
    cost_usd: float | None
    latency_s: float | None
    utility: float
    feedback_given: bool


@dataclass(frozen=True, slots=True)
class Worth:
    """Utility per row and per (prompt, model) under the options' weights."""

    c_ref: float
    t_ref: float
    cost_known: FloatArray
    """(n,) USD with gaps filled by the model's mean; nan for a model that never shows a cost."""
    latency_known: FloatArray
    utility: FloatArray
    """(n,)"""
    usable: FloatArray
    """(K,) 1.0 for models whose cost and latency are known where they weigh."""


def replay(
    table: OutcomeTable, options: ReplayOptions, on_progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], list[Trace]]:
    """Make the pass; returns the report and one trace line per decision.

    Raises ``TaskInvalid`` naming the option.
    """
    _check(table, options)
    worth = _worth(table, options)
    visits = _stream(table, options, worth)
    run = _Pass(table, options, worth)
    started = time.perf_counter()
    for i, (prompt, visit) in enumerate(visits.tolist()):
        run.step(i, prompt, visit)
        if on_progress is not None and i % 64 == 0:
            on_progress(i, len(visits))
    elapsed = time.perf_counter() - started
    if on_progress is not None:
        on_progress(len(visits), len(visits))
    return _report(table, options, worth, visits, run, len(visits) / elapsed), run.traces


class _Pass:
    def __init__(self, table: OutcomeTable, options: ReplayOptions, worth: Worth) -> None:
        self.table, self.options, self.worth = table, options, worth
        self.policy = _policy(options, table.models)
        self.pacer = None if options.budget_usd_per_request is None else Pacer(options.budget_usd_per_request)
        self.learner = Learner(options.half_life_decisions * RECORDS_PER_DECISION)
        prices = table.list_prices()
        self.learner.register(_facts(table, prices))
        index = self.learner.posterior().model_index
        self.everything = Offers(table.models, np.array([index[m] for m in table.models]), prices[:, 0], prices[:, 1])
        self.unpriced = {m: bool(np.isnan(prices[k]).any()) for k, m in enumerate(table.models)}
        self.subsets: dict[bytes, tuple[Offers, IntArray]] = {}
        self.rng = np.random.default_rng([options.seed, 1])
        self.salt = f"replay-{options.seed}".encode()
        self.preference = Preference(
            options.quality_weight,
            options.cost_weight / worth.c_ref if options.cost_weight else 0.0,
            options.latency_weight / worth.t_ref if options.latency_weight else 0.0,
        )
        self.costly = bool(options.cost_weight or options.budget_usd_per_request)
        self.asked = [Target.QUALITY, *self.costly * [Target.OUTPUT_TOKENS, Target.COST], *(options.latency_weight > 0) * [Target.LATENCY]]
        self.traces: list[Trace] = []
        self.chosen: list[int] = []
        self.rows: list[int] = []

    def step(self, i: int, prompt: int, visit: int) -> None:
        """Decide, reveal the chosen model's outcome, learn."""
        table, options = self.table, self.options
        task_type = table.task_types[prompt]
        offers, positions = self._offers(prompt)
        features = encode(int(table.context_tokens[prompt]))
        posterior = self.learner.posterior(self.asked)
        estimates: Estimates = estimate(
            posterior,
            offers,
            task_type,
            features,
            float(table.context_tokens[prompt]),
            cost=self.costly,
            latency=options.latency_weight > 0,
        )
        about = beliefs(offers, estimates, self._preference())
        choice = choose(self.policy, about, uniform_draw(self.salt, str(i)))
        m = int(positions[choice.index])
        row = int(table.order[table.first[prompt, m] + visit % table.count[prompt, m]])
        told = options.feedback_rate >= 1 or bool(self.rng.random() < options.feedback_rate)
        self._learn(i, table.models[m], task_type, features, row, told)
        cost = float(self.worth.cost_known[row])
        if self.pacer is not None and not math.isnan(cost):
            self.pacer.settle(cost)
        self.chosen.append(m)
        self.rows.append(row)
        self.traces.append(
            Trace(
                i,
                table.prompt_ids[prompt],
                task_type,
                table.models[m],
                choice.propensity,
                float(table.quality[row]),
                _known(table.cost_usd[row]),
                _known(table.latency_s[row]),
                float(self.worth.utility[row]),
                told,
            )
        )

    def _preference(self) -> Preference:
        if self.pacer is None:
            return self.preference
        return Preference(self.preference.quality, self.preference.cost_per_usd + self.pacer.utility_per_usd, self.preference.latency_per_s)

    def _offers(self, prompt: int) -> tuple[Offers, IntArray]:
        available = (self.table.count[prompt] > 0) & (self.worth.usable > 0)
        key = available.tobytes()
        found = self.subsets.get(key)
        if found is None:
            positions = np.flatnonzero(available)
            found = self.subsets[key] = (self.everything.take(positions), positions)
        return found

    def _learn(self, i: int, model: str, task_type: str, features: FloatArray, row: int, told: bool) -> None:
        table, learner, clock = self.table, self.learner, RECORDS_PER_DECISION * i + 1

        def fold(target: Target, value: float) -> None:
            learner.fold(Observation(target, model, task_type, features, value, clock))

        tokens, cost, latency = table.output_tokens[row], table.cost_usd[row], table.latency_s[row]
        if not math.isnan(tokens):
            fold(Target.OUTPUT_TOKENS, math.log(max(tokens, 1.0)))
        if cost > 0 and self.unpriced[model]:
            fold(Target.COST, math.log(cost))
        if latency > 0:
            fold(Target.LATENCY, math.log(latency))
        if told:
            fold(Target.QUALITY, float(table.quality[row]))
        learner.advance(clock + 2)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _check(table: OutcomeTable, options: ReplayOptions) -> None:
    weights = {
        "quality-weight": options.quality_weight,
        "cost-weight": options.cost_weight,
        "latency-weight": options.latency_weight,
    }
    for name, value in weights.items():
        if not (math.isfinite(value) and value >= 0):
            raise TaskInvalid(f"{name} must be a finite number, not negative", field=name, remedy="e.g. 1.0")
    if not any(weights.values()):
        raise TaskInvalid("one of the weights must be positive", field="quality-weight", remedy="e.g. --quality-weight 1")
    if not 0 <= options.feedback_rate <= 1:
        raise TaskInvalid("feedback-rate must lie in [0, 1]", field="feedback-rate", remedy="e.g. 0.2 for every fifth call")
    if options.budget_usd_per_request is not None and not (
        math.isfinite(options.budget_usd_per_request) and options.budget_usd_per_request > 0
    ):
        raise TaskInvalid("the budget must be a positive number of USD", field="budget-usd-per-request", remedy="e.g. 0.001")
    if (options.cost_weight or options.budget_usd_per_request) and np.isnan(table.cost_usd).all():
        raise TaskInvalid("the table has no costs", field="cost-weight", remedy="give cost_usd, or leave out cost weight and budget")
    if options.latency_weight and np.isnan(table.latency_s).all():
        raise TaskInvalid("the table has no latencies", field="latency-weight", remedy="give latency_s, or leave out the latency weight")
    if options.order not in ("shuffle", "file"):
        raise TaskInvalid("order must be shuffle or file", field="order", remedy="use --order shuffle or --order file")
    if options.baseline is not None and options.baseline not in table.models:
        raise TaskInvalid("the table has no model of that name", field="baseline", remedy=f"choose one of {', '.join(table.models[:8])}")


def _policy(options: ReplayOptions, models: tuple[str, ...]) -> Policy:
    parameters = {"model": options.baseline or models[0]} if options.policy == "fixed" else {}
    try:
        return make(options.policy, **parameters)
    except LearningError as exc:
        raise TaskInvalid(str(exc), field="policy", remedy="choose a registered policy") from exc


def _facts(table: OutcomeTable, prices: FloatArray) -> dict[str, ArmFacts]:
    mean_cost = _model_means(table, table.cost_usd)
    level = np.where(np.isnan(prices).any(axis=1), mean_cost / _ASSUMED_TOKENS, prices.mean(axis=1)) * 1e6
    return {m: ArmFacts(price_usd_per_mtok=_known(level[k])) for k, m in enumerate(table.models)}


def _model_means(table: OutcomeTable, values: FloatArray) -> FloatArray:
    """(K,) mean of a column over a model's rows; nan where it never shows."""
    model = table.model_of_row
    known = ~np.isnan(values)
    n = np.bincount(model[known], minlength=len(table.models))
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.bincount(model[known], values[known], minlength=len(table.models)) / n
    return mean


def _worth(table: OutcomeTable, options: ReplayOptions) -> Worth:
    model = table.model_of_row
    mean_cost, mean_latency = _model_means(table, table.cost_usd), _model_means(table, table.latency_s)
    cost = np.where(np.isnan(table.cost_usd), mean_cost[model], table.cost_usd)
    latency = np.where(np.isnan(table.latency_s), mean_latency[model], table.latency_s)
    c_ref = 1.0 if np.isnan(mean_cost).all() else float(np.nanmax(mean_cost))
    t_ref = 1.0 if np.isnan(mean_latency).all() else float(np.nanmax(mean_latency))
    utility = options.quality_weight * table.quality
    usable = np.ones(len(table.models))
    if options.cost_weight:
        utility = utility - options.cost_weight * cost / c_ref
    if options.latency_weight:
        utility = utility - options.latency_weight * latency / t_ref
        usable[np.isnan(mean_latency)] = 0.0
    if options.cost_weight or options.budget_usd_per_request:
        usable[np.isnan(mean_cost)] = 0.0
    return Worth(c_ref, t_ref, cost, latency, utility, usable)


def _stream(table: OutcomeTable, options: ReplayOptions, worth: Worth) -> IntArray:
    """(n, 2) prompt and visit. A prompt comes as often as the model that answered it most often; its visits are spread over the pass."""
    most = table.count.max(axis=1)
    prompt = np.concatenate([np.flatnonzero(most > visit) for visit in range(int(most.max()))])
    visit = np.concatenate([np.full(int((most > v).sum()), v) for v in range(int(most.max()))])
    stream = np.column_stack([prompt, visit])
    if options.order == "shuffle":
        stream = stream[np.random.default_rng([options.seed, 0]).permutation(len(stream))]
    answered: IntArray = stream[(table.count[stream[:, 0]] > 0) @ (worth.usable > 0)]
    return answered


def _summary(quality: FloatArray, cost: FloatArray, latency: FloatArray, utility: FloatArray) -> dict[str, float | None]:
    def mean(values: FloatArray) -> float | None:
        return None if np.isnan(values).all() else float(np.nanmean(values))

    return {"quality": mean(quality), "cost_usd": mean(cost), "latency_s": mean(latency), "utility": mean(utility)}


def _report(
    table: OutcomeTable, options: ReplayOptions, worth: Worth, visits: IntArray, run: _Pass, decisions_per_s: float
) -> dict[str, Any]:
    rows = np.array(run.rows)
    whole = _summary(table.quality[rows], worth.cost_known[rows], worth.latency_known[rows], worth.utility[rows])
    last = rows[-max(1, len(rows) // 4) :]
    shares = np.bincount(run.chosen, minlength=len(table.models)) / len(rows)
    report: dict[str, Any] = {
        "rows": table.n_rows,
        "prompts": len(table.prompt_ids),
        "decisions": len(rows),
        "models": len(table.models),
        "policy": options.policy,
        "seed": options.seed,
        "mean_quality": whole["quality"],
        "mean_cost_usd": whole["cost_usd"],
        "mean_latency_s": whole["latency_s"],
        "mean_utility": whole["utility"],
        "last_quarter": _summary(table.quality[last], worth.cost_known[last], worth.latency_known[last], worth.utility[last]),
        "baselines": _baselines(table, worth, visits, options.baseline),
        "shares": {m: float(shares[k]) for k, m in sorted(enumerate(table.models), key=lambda item: -shares[item[0]]) if shares[k] > 0},
        "budget": _budget(options, whole["cost_usd"]),
        "decisions_per_s": decisions_per_s,
    }
    if table.dropped:
        report["dropped_rows"] = table.dropped
    return report


def _budget(options: ReplayOptions, mean_cost: float | None) -> dict[str, float | None]:
    limit = options.budget_usd_per_request
    return {"limit_usd": limit, "spent_ratio": None if limit is None or mean_cost is None else mean_cost / limit}


def _baselines(table: OutcomeTable, worth: Worth, visits: IntArray, baseline: str | None) -> dict[str, Any]:
    """What fixed rules would have got on the same visits, in expectation over a prompt's repeated rows."""
    prompt = visits[:, 0]
    columns = [table.means(c)[prompt] for c in (table.quality, worth.cost_known, worth.latency_known, worth.utility)]
    utility = columns[3]
    utility[:, worth.usable == 0] = np.nan
    covered = ~np.isnan(utility)

    def at(choice: IntArray) -> dict[str, float | None]:
        picked = [np.take_along_axis(c, choice[:, None], axis=1)[:, 0] for c in columns]
        return _summary(*picked)

    def mixed(weights: FloatArray) -> dict[str, float | None]:
        return _summary(
            *(
                np.nansum(np.where(np.isnan(c), 0.0, c) * weights, axis=1) / np.maximum((weights * ~np.isnan(c)).sum(axis=1), 1e-12)
                if not np.isnan(c).all()
                else np.full(len(c), np.nan)
                for c in columns
            )
        )

    single = {m: _summary(*(c[covered[:, k], k] for c in columns)) for k, m in enumerate(table.models) if covered[:, k].any()}
    coverage = covered.mean(axis=0)
    eligible = [k for k in range(len(table.models)) if coverage[k] >= min(0.5, coverage.max())]
    best = max(eligible, key=lambda k: single[table.models[k]]["utility"] or -math.inf)
    task_names, task = np.unique(np.array(table.task_types, dtype=object)[prompt].astype(str), return_inverse=True)
    per_task = np.zeros(len(prompt), dtype=np.int64)
    for t in range(len(task_names)):
        inside = task == t
        shown = covered[inside].mean(axis=0)
        with np.errstate(invalid="ignore"):
            value = np.nansum(utility[inside], axis=0) / covered[inside].sum(axis=0)
        value[shown < min(0.5, shown.max())] = -np.inf
        ranking = np.argsort(-np.nan_to_num(value, nan=-np.inf), kind="stable")
        per_task[inside] = ranking[covered[inside][:, ranking].argmax(axis=1)]
    report: dict[str, Any] = {
        "random": mixed(covered / covered.sum(axis=1, keepdims=True)),
        "best_single": {"model": table.models[best], **single[table.models[best]]},
        "best_per_task": at(per_task),
        "oracle": at(np.argmax(np.nan_to_num(utility, nan=-np.inf), axis=1)),
        "singles": single,
    }
    if baseline is not None:
        report["baseline"] = {"model": baseline, **single[baseline]}
    return report
