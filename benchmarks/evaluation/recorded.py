"""Recorded outcomes replayed: an estimate beside the true replay, and a what-if beside doing it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Offers, Preference, beliefs, choose, estimate
from learning.facts import ArmFacts
from learning.features import encode
from learning.learner import Learner
from learning.observations import Observation
from learning.policies import Policy, make
from learning.propensities import uniform_draw
from learning.targets import Target
from router.domain.candidates import Candidate
from router.domain.evaluation import Comparison, Look, compare, expectations
from router.domain.outcome_stream import Stream, Weights, lay_out, model_means
from router.domain.outcome_table import OutcomeTable
from router.domain.recall import Result

POLICIES: Mapping[str, Policy] = {
    "greedy": make("greedy"),
    "linucb": make("linucb"),
    "epsilon_greedy": make("epsilon_greedy"),
    "wide thompson": make("thompson", scale=2.0, floor=0.1),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """One target of one logged pass."""

    target: str
    comparison: Comparison
    truth: float
    """Mean quality of the true replay on the same prompts, from the same learned states: the table shows every model's outcome."""

    @property
    def inside(self) -> bool | None:
        """Whether the interval of quality holds it; None where nothing was claimed."""
        value = self.comparison.quality
        return None if value is None or value.then is None else value.then.low <= self.truth <= value.then.high


@dataclass(frozen=True, slots=True)
class Done:
    """One what-if, and what came of doing it."""

    comparison: Comparison
    quality: float
    cost_usd: float

    @property
    def inside(self) -> bool | None:
        """Whether both lie in their intervals; None where nothing was predicted."""
        quality, cost = self.comparison.quality, self.comparison.cost_usd
        if quality is None or cost is None or quality.then is None or cost.then is None:
            return None
        return quality.then.low <= self.quality <= quality.then.high and cost.then.low <= self.cost_usd <= cost.then.high


class Pass:
    """A learner over a stream, deciding under one preference at a time."""

    def __init__(self, table: OutcomeTable, seed: int, scored: float, floor: float) -> None:
        self.stream: Stream = lay_out(table, Weights(cost=1.0), seed=seed, feedback_rate=scored, needs_cost=True)
        self._prices = table.list_prices()
        usable = np.flatnonzero(~np.isnan(self._prices).any(axis=1) & ~np.isnan(model_means(table, table.cost_usd)))
        self._usable: IntArray = usable
        self._learner = Learner()
        level = self._prices[usable].mean(axis=1) * 1e6
        self._learner.register({table.models[k]: ArmFacts(float(p)) for k, p in zip(usable, level, strict=True)})
        self._policy = make("thompson", floor=floor)
        self._salt = f"bench {seed}".encode()

    def step(
        self, i: int, now: Preference, then: Preference, targets: Mapping[str, Policy | int | None]
    ) -> dict[str, tuple[Look, float]] | None:
        """Decide and learn; for each target (None: this policy, under ``then``) its look and its true quality."""
        stream, table = self.stream, self.stream.table
        at = self._usable[stream.row[i, self._usable] >= 0]
        if len(at) < 2:
            return None
        prompt = int(stream.prompt[i])
        tokens, task_type = int(table.context_tokens[prompt]), table.task_types[prompt]
        features, posterior = encode(tokens), self._learner.posterior((Target.QUALITY, Target.OUTPUT_TOKENS), intervals=False)
        names = [table.models[k] for k in at.tolist()]
        index = np.array([posterior.model_index[name] for name in names])
        offers = Offers(names, index, self._prices[at, 0], self._prices[at, 1])
        expected = estimate(posterior, offers, task_type, features, float(tokens), latency=False)
        choice = choose(self._policy, beliefs(offers, expected, now), uniform_draw(self._salt, str(i)))
        k = int(at[choice.index])
        quality, cost = float(stream.quality[i, k]), float(stream.cost[i, k])
        self._learn(i, k, task_type, features)
        known = expectations(expected)
        worth = np.array([then.quality, -then.cost_per_usd, 0.0])
        result = Result(quality if stream.told[i] else None, cost, None, False)
        seen = {}
        for name, target in targets.items():
            pi = self._target(target, at, offers, expected, then)
            look = Look(task_type, tuple(names), choice.index, choice.propensities, pi, known, known, result, cost, worth, float(i))
            seen[name] = look, float(pi @ stream.quality[i, at])
        return seen

    def _target(self, target: Policy | int | None, at: IntArray, offers: Offers, expected: object, then: Preference) -> FloatArray:
        about = beliefs(offers, expected, then)  # type: ignore[arg-type]
        if isinstance(target, int):
            return np.eye(len(at))[int(np.flatnonzero(at == target)[0])] if target in at else make("greedy").propensities(about)
        return (self._policy if target is None else target).propensities(about)

    def _learn(self, i: int, k: int, task_type: str, features: FloatArray) -> None:
        stream, clock = self.stream, 3 * i + 1
        model, row = stream.table.models[k], stream.row[i, k]
        tokens = stream.table.output_tokens[row]
        if not np.isnan(tokens):
            self._learner.fold(Observation(Target.OUTPUT_TOKENS, model, task_type, features, float(np.log(max(tokens, 1.0))), clock))
        if stream.told[i]:
            self._learner.fold(Observation(Target.QUALITY, model, task_type, features, float(stream.quality[i, k]), clock))
        self._learner.advance(clock + 2)


def check(table: OutcomeTable, seed: int, steps: int, scored: float = 1.0, floor: float = 0.05) -> list[Checked]:
    """One logged pass that values quality, and every target estimated from it."""
    quality = Preference()
    good = np.argsort(-model_means(table, table.quality))[:6]
    rng = np.random.default_rng([seed, 8])
    targets: dict[str, Policy | int] = {**POLICIES, "one good model": int(rng.choice(good))}
    run = Pass(table, seed, scored, floor)
    seen = [one for i in range(min(steps, len(run.stream))) if (one := run.step(i, quality, quality, targets)) is not None]
    made = []
    for name, target in targets.items():
        candidate = Candidate(policy="thompson") if not isinstance(target, int) else Candidate(model=table.models[target])
        truth = float(np.mean([one[name][1] for one in seen]))
        made.append(Checked(name, compare([one[name][0] for one in seen], candidate), truth))
    return made


def do(table: OutcomeTable, seed: int, steps: int, cost_weight: float, scored: float = 1.0, floor: float = 0.1) -> Done:
    """Log under one weight of cost, predict another from the second half of the log, then go on under it for as long."""
    run = Pass(table, seed, scored, floor)
    before = Preference(1.0, 0.1 / run.stream.c_ref)
    after = Preference(1.0, cost_weight / run.stream.c_ref)
    itself = {"itself": None}
    looks = [seen["itself"][0] for i in range(steps) if (seen := run.step(i, before, after, itself)) is not None]
    told = compare(looks[len(looks) // 2 :], Candidate(policy="thompson"), ahead=True)
    quality, cost = [], []
    for i in range(steps, min(len(run.stream), steps + steps // 2)):
        if (seen := run.step(i, after, after, itself)) is not None:
            look = seen["itself"][0]
            k = run.stream.table.models.index(look.models[look.drawn])
            quality.append(float(run.stream.quality[i, k]))
            cost.append(float(run.stream.cost[i, k]))
    return Done(told, float(np.mean(quality)), float(np.mean(cost)))
