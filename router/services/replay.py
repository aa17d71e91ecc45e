"""One online pass over recorded outcomes with the service's own learner and decision code: what would have happened."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Estimates, Offers, Preference, Restraint, Safeguard, beliefs, choose, estimate
from learning.drift import Incident
from learning.errors import LearningError
from learning.facts import ArmFacts
from learning.features import encode, to_bytes
from learning.foretold import foretold_of
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.pacing import Pacer
from learning.policies import Policy, make
from learning.propensities import uniform_draw
from learning.targets import Target
from learning.text import TextScore, TextShift
from learning.voices import PLAIN, Voice
from router.domain.hindsight import baselines, regret, summary
from router.domain.incidents import described
from router.domain.outcome_stream import Change, Stream, Weights, lay_out, model_means
from router.domain.outcome_table import OutcomeTable
from router.domain.published import arena_rating, canonical
from router.errors import TaskInvalid

RECORDS_PER_DECISION = 3
"""Log records of a fully reported decision: itself, its outcome, its feedback. The learner's clock counts records."""
FIRST_DAY = 500
"""Decisions whose regret is told apart: what a service loses before it knows its models."""
_ASSUMED_TOKENS = 1_000
"""Tokens behind one call where a table tells its cost only."""


_LIAR = Voice("", "liar")


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
    text: bool = False
    """Let what the texts say count where it has proven its worth; the table must have been read with them."""
    baseline: str | None = None
    half_life_decisions: float = 8_000.0
    warm_per_cell: int = 0
    """Prompts of each task type that every model plays before the pass, as in a battery; they are set aside from it."""
    exploration_quality: float | None = None
    """Expected points of quality that one decision may give up to learn."""
    exploration_usd: float | None = None
    """Expected dollars that it may spend on top."""
    safe_model: str | None = None
    """A model that is known to do, which others replace as far as evidence shows them no worse."""
    safe_shortfall: float = 0.01
    """Utility that a decision may be expected to fall below it."""
    lying_share: float = 0.0
    """Share of the scores that come through a key of their own and lie: the best model is worthless, all others are perfect."""
    changes: Sequence[Change] = ()
    """What happens to models during the pass: a new price, a silent regression, an arrival, a removal."""
    decisions: int | None = None
    """Stop after so many; None goes through the whole table."""


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


def replay(
    table: OutcomeTable, options: ReplayOptions, on_progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], list[Trace]]:
    """Make the pass; returns the report and one trace line per decision.

    Raises ``TaskInvalid`` naming the option.
    """
    stream = stream_of(table, options)
    battery, stream = stream.set_aside(options.warm_per_cell) if options.warm_per_cell else (None, stream)
    if not len(stream):
        raise TaskInvalid("the battery leaves no prompt for the pass", field="warm-per-cell", remedy="warm with fewer prompts")
    run = _Pass(stream, options)
    if battery is not None:
        run.warm(battery)
    started = time.perf_counter()
    for i in range(len(stream)):
        run.step(i)
        if on_progress is not None and i % 64 == 0:
            on_progress(i, len(stream))
    elapsed = time.perf_counter() - started
    if on_progress is not None:
        on_progress(len(stream), len(stream))
    return _report(stream, options, run, len(stream) / elapsed), run.traces


def stream_of(table: OutcomeTable, options: ReplayOptions) -> Stream:
    """What the pass goes through, a battery's prompts included: the same for every policy.

    Raises ``TaskInvalid`` naming the option.
    """
    _check(table, options)
    stream = lay_out(
        table,
        Weights(options.quality_weight, options.cost_weight, options.latency_weight),
        seed=options.seed,
        shuffle=options.order == "shuffle",
        feedback_rate=options.feedback_rate,
        needs_cost=options.budget_usd_per_request is not None,
        changes=options.changes,
    )
    return stream if options.decisions is None else stream.take(np.arange(min(options.decisions, len(stream))))


class _Pass:
    def __init__(self, stream: Stream, options: ReplayOptions) -> None:
        self.stream, self.options = stream, options
        self.policy = _policy(options, stream.table.models)
        self.pacer = None if options.budget_usd_per_request is None else Pacer(options.budget_usd_per_request)
        self.learner = Learner(options.half_life_decisions * RECORDS_PER_DECISION)
        self.list_prices = stream.table.list_prices()
        self.unpriced = {m: bool(np.isnan(self.list_prices[k]).any()) for k, m in enumerate(stream.table.models)}
        self.period = -1
        self.subsets: dict[bytes, tuple[Offers, IntArray]] = {}
        self.salt = f"replay-{options.seed}".encode()
        self.preference = Preference(
            options.quality_weight,
            options.cost_weight / stream.c_ref if options.cost_weight else 0.0,
            options.latency_weight / stream.t_ref if options.latency_weight else 0.0,
        )
        self.costly = bool(options.cost_weight or options.budget_usd_per_request or options.exploration_usd is not None)
        self.asked = [Target.QUALITY, *self.costly * [Target.OUTPUT_TOKENS, Target.COST], *(options.latency_weight > 0) * [Target.LATENCY]]
        self.warmed = 0
        """Decisions' worth of the learner's clock that passed before the pass."""
        limits = options.exploration_quality, options.exploration_usd
        self.restraint = None if limits == (None, None) else Restraint(*limits)
        self.safe = None if options.safe_model is None else Safeguard(options.safe_model, options.safe_shortfall)
        self.slandered = int(np.nanargmax(model_means(stream.table, stream.table.quality)))
        self.lies = np.random.default_rng([options.seed, 11]).random(len(stream)) < options.lying_share
        self.traces: list[Trace] = []
        self.chosen: list[int] = []

    def warm(self, battery: Stream) -> None:
        """Learn what every model did with the battery's prompts: nobody chooses, everything is told."""
        stream, self.stream = self.stream, replace(battery, period=np.zeros_like(battery.period), told=np.ones_like(battery.told))
        for i in range(len(battery)):
            offered = np.flatnonzero(self.stream.row[i] >= 0)
            self._offers(i)
            features = encode(int(battery.table.context_tokens[battery.prompt[i]]))
            for m in offered.tolist():
                self._learn(i, m, features, True)
        self.stream, self.period, self.warmed = stream, -1, len(battery)
        self.subsets.clear()

    def step(self, i: int) -> None:
        """Decide, reveal the chosen model's outcome, learn."""
        stream, table, options = self.stream, self.stream.table, self.options
        prompt = int(stream.prompt[i])
        task_type = table.task_types[prompt]
        offers, positions = self._offers(i)
        features = encode(int(table.context_tokens[prompt]))
        posterior = self.learner.posterior(self.asked, intervals=False)
        estimates: Estimates = estimate(
            posterior,
            offers,
            task_type,
            features,
            float(table.context_tokens[prompt]),
            cost=self.costly,
            latency=options.latency_weight > 0,
        )
        plain, shift = estimates, None
        if options.text:
            shift = posterior.text_shift(table.texts[prompt], offers.index, posterior.task(task_type))
            estimates = shift.applied(plain)
        about = beliefs(offers, estimates, self._preference(offers, estimates))
        choice = choose(self.policy, about, uniform_draw(self.salt, str(i)), estimates, self.restraint, self.safe)
        m = int(positions[choice.index])
        cost, told = float(stream.cost[i, m]), bool(stream.told[i])
        self._learn(i, m, features, told)
        if shift is not None and told:
            self._read(i, m, features, shift, float(plain.quality[choice.index]), choice.index)
        if self.pacer is not None and not math.isnan(cost):
            self.pacer.settle(cost)
        self.chosen.append(m)
        row = stream.row[i, m]
        self.traces.append(
            Trace(
                i,
                table.prompt_ids[prompt],
                task_type,
                table.models[m],
                choice.propensity,
                float(stream.quality[i, m]),
                None if math.isnan(table.cost_usd[row]) else cost,
                _known(table.latency_s[row]),
                float(stream.utility[i, m]),
                told,
            )
        )

    def _preference(self, offers: Offers, estimates: Estimates) -> Preference:
        wanted = self.preference
        if self.pacer is None:
            return wanted
        before = beliefs(offers, estimates, wanted)
        price = self.pacer.price(before.mean, before.sd, estimates.cost)
        return replace(wanted, cost_per_usd=wanted.cost_per_usd + price)

    def _offers(self, i: int) -> tuple[Offers, IntArray]:
        if self.stream.period[i] != self.period:
            self._enter(int(self.stream.period[i]), i)
        offered = self.stream.row[i] >= 0
        key = offered.tobytes()
        found = self.subsets.get(key)
        if found is None:
            positions = np.flatnonzero(offered)
            names = [self.stream.table.models[k] for k in positions.tolist()]
            prices = self.list_prices[positions] * self.stream.price[self.period, positions, None]
            index = self.learner.posterior().model_index
            found = self.subsets[key] = (Offers(names, np.array([index[m] for m in names]), prices[:, 0], prices[:, 1]), positions)
        return found

    def _enter(self, period: int, i: int) -> None:
        """Make the models known that are offered from decision ``i`` on, at their prices: what a catalogue tells a running service."""
        stream = self.stream
        self.period = period
        self.subsets.clear()
        coming = (stream.row[i:][stream.period[i:] == period] >= 0).any(axis=0)
        facts = _facts(stream, self.list_prices, period)
        self.learner.register({m: facts[m] for k, m in enumerate(stream.table.models) if coming[k]})

    def _learn(self, i: int, m: int, features: FloatArray, told: bool) -> None:
        table, learner, row = self.stream.table, self.learner, self.stream.row[i, m]
        clock = RECORDS_PER_DECISION * (self.warmed + i) + 1
        model, task_type = table.models[m], table.task_types[self.stream.prompt[i]]

        def fold(target: Target, value: float) -> None:
            learner.fold(Observation(target, model, task_type, features, value, clock))

        learner.fold_call(Call(model, False, clock))
        tokens, cost, latency = table.output_tokens[row], table.cost_usd[row], table.latency_s[row]
        if not math.isnan(tokens):
            fold(Target.OUTPUT_TOKENS, math.log(max(tokens, 1.0)))
        if cost > 0 and self.unpriced[model]:
            fold(Target.COST, math.log(float(self.stream.cost[i, m])))
        if latency > 0:
            fold(Target.LATENCY, math.log(latency))
        if told:
            score, voice = float(self.stream.quality[i, m]), PLAIN
            if self.lies[i]:
                score, voice = float(m != self.slandered), _LIAR
            learner.fold(Observation(Target.QUALITY, model, task_type, features, score, clock, voice=voice))
        learner.advance(clock + 2)

    def _read(self, i: int, m: int, features: FloatArray, shift: TextShift, plain: float, index: int) -> None:
        """Learn what the text of a scored decision told, from what the service would have logged of it."""
        table, prompt = self.stream.table, self.stream.prompt[i]
        clock, model = RECORDS_PER_DECISION * (self.warmed + i) + 1, table.models[m]
        foretold = foretold_of(to_bytes(features) + shift.foretold(table.texts[prompt], plain, index, model).to_bytes())
        if foretold is not None:
            score = float(m != self.slandered) if self.lies[i] else float(self.stream.quality[i, m])
            voice = _LIAR if self.lies[i] else PLAIN
            self.learner.fold_texts([TextScore(foretold, model, table.task_types[prompt], clock, score, 1.0, voice)])


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
    for name, limit in (("exploration-quality", options.exploration_quality), ("exploration-usd", options.exploration_usd)):
        if limit is not None and not (math.isfinite(limit) and limit >= 0):
            raise TaskInvalid(f"{name} must be a finite number, not negative", field=name, remedy="e.g. 0.01, or leave it out")
    if not 0 <= options.safe_shortfall <= 1:
        raise TaskInvalid("safe-shortfall must lie in [0, 1]", field="safe-shortfall", remedy="e.g. 0.01, a point of quality")
    if not 0 <= options.lying_share <= 1:
        raise TaskInvalid("lying-share must lie in [0, 1]", field="lying-share", remedy="e.g. 0.2")
    if not 0 <= options.feedback_rate <= 1:
        raise TaskInvalid("feedback-rate must lie in [0, 1]", field="feedback-rate", remedy="e.g. 0.2 for every fifth call")
    if options.budget_usd_per_request is not None and not (
        math.isfinite(options.budget_usd_per_request) and options.budget_usd_per_request > 0
    ):
        raise TaskInvalid("the budget must be a positive number of USD", field="budget-usd-per-request", remedy="e.g. 0.001")
    if (options.cost_weight or options.budget_usd_per_request or options.exploration_usd is not None) and np.isnan(table.cost_usd).all():
        raise TaskInvalid("the table has no costs", field="cost-weight", remedy="give cost_usd, or leave out cost weight and budget")
    if options.latency_weight and np.isnan(table.latency_s).all():
        raise TaskInvalid("the table has no latencies", field="latency-weight", remedy="give latency_s, or leave out the latency weight")
    if options.text and not table.texts:
        raise TaskInvalid("the table has no texts", field="text", remedy="give the column prompt, or leave the option out")
    if options.decisions is not None and options.decisions < 1:
        raise TaskInvalid("decisions must be at least 1", field="decisions", remedy="leave it out for the whole table")
    if options.warm_per_cell < 0:
        raise TaskInvalid("warm-per-cell must not be negative", field="warm-per-cell", remedy="e.g. 20, or 0 for a cold start")
    if options.order not in ("shuffle", "file"):
        raise TaskInvalid("order must be shuffle or file", field="order", remedy="use --order shuffle or --order file")
    for name, model in (("baseline", options.baseline), ("safe-model", options.safe_model)):
        if model is not None and model not in table.models:
            raise TaskInvalid("the table has no model of that name", field=name, remedy=f"choose one of {', '.join(table.models[:8])}")


def _policy(options: ReplayOptions, models: tuple[str, ...]) -> Policy:
    parameters = {"model": options.baseline or models[0]} if options.policy == "fixed" else {}
    try:
        return make(options.policy, **parameters)
    except LearningError as exc:
        raise TaskInvalid(str(exc), field="policy", remedy="choose a registered policy") from exc


def _facts(stream: Stream, prices: FloatArray, period: int) -> dict[str, ArmFacts]:
    mean_cost = model_means(stream.table, stream.table.cost_usd)
    level = np.where(np.isnan(prices).any(axis=1), mean_cost / _ASSUMED_TOKENS, prices.mean(axis=1)) * stream.price[period] * 1e6
    return {m: ArmFacts(_known(level[k]), rating=arena_rating(m), weights=canonical(m)) for k, m in enumerate(stream.table.models)}


def _report(stream: Stream, options: ReplayOptions, run: _Pass, decisions_per_s: float) -> dict[str, Any]:
    table, at = stream.table, (np.arange(len(stream)), np.array(run.chosen))
    columns = [column[at] for column in (stream.quality, stream.cost, stream.latency, stream.utility)]
    whole, last = summary(*columns), [column[-max(1, len(stream) // 4) :] for column in columns]
    shares = np.bincount(run.chosen, minlength=len(table.models)) / len(stream)
    report: dict[str, Any] = {
        "rows": table.n_rows,
        "prompts": len(table.prompt_ids),
        "decisions": len(stream),
        "models": len(table.models),
        "policy": options.policy,
        "seed": options.seed,
        "warm_per_cell": options.warm_per_cell,
        "mean_quality": whole["quality"],
        "mean_cost_usd": whole["cost_usd"],
        "mean_latency_s": whole["latency_s"],
        "mean_utility": whole["utility"],
        "last_quarter": summary(*last),
        "first_day": _first_day(stream, at[1]),
        "baselines": baselines(stream, options.baseline),
        "shares": {m: float(shares[k]) for k, m in sorted(enumerate(table.models), key=lambda item: -shares[item[0]]) if shares[k] > 0},
        "budget": _budget(options, whole["cost_usd"]),
        "incidents": [_incident(i, run.warmed) for i in run.learner.incidents],
        "decisions_per_s": decisions_per_s,
    }
    if table.dropped:
        report["dropped_rows"] = table.dropped
    return report


def _first_day(stream: Stream, chosen: IntArray) -> dict[str, float | int]:
    """Mean regret of the first decisions against the best model per task type in hindsight."""
    given_up = regret(stream, chosen)[:FIRST_DAY]
    return {"decisions": len(given_up), "regret": float(given_up.mean())}


def _incident(incident: Incident, warmed: int) -> dict[str, Any]:
    return {
        "decision": _decision(incident.opened) - warmed,
        "since": _decision(incident.since) - warmed,
        "closed": None if incident.closed is None else _decision(incident.closed) - warmed,
        **described(incident),
    }


def _decision(clock: int) -> int:
    return (clock - 1) // RECORDS_PER_DECISION


def _budget(options: ReplayOptions, mean_cost: float | None) -> dict[str, float | None]:
    limit = options.budget_usd_per_request
    return {"limit_usd": limit, "spent_ratio": None if limit is None or mean_cost is None else mean_cost / limit}
