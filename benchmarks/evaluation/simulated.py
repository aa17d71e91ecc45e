"""Logs of Thompson policies that learn as they go, in worlds of which half change half-way; every target's value is known."""

from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray
from learning.choice import Preference, beliefs, choose, estimate
from learning.evaluation.diagnostics import Support, observation_probability, support
from learning.evaluation.estimators import Sample, designed_variance, doubly_robust, inverse_propensity, self_normalised
from learning.evaluation.intervals import always_valid, asymptotic
from learning.features import TYPICAL_CONTEXT_TOKENS, encode
from learning.learner import Learner
from learning.observations import Call
from learning.policies import make
from learning.simulation import Drift, World, observations
from learning.targets import Target

POLICIES = {
    "greedy": make("greedy"),
    "linucb": make("linucb"),
    "epsilon_greedy": make("epsilon_greedy"),
    "wide thompson": make("thompson", scale=2.0, floor=0.1),
    "uniform": make("uniform"),
}


@dataclass(frozen=True, slots=True)
class Held:
    """One target on one log."""

    target: str
    truth: float
    support: Support
    inside: dict[str, bool]
    """By estimator, whether its interval held the truth."""
    width: float


def held(seed: int, steps: int = 1_500) -> list[Held]:
    """Make a log and estimate every target from it."""
    rng = np.random.default_rng([seed, 77])
    n, types = int(rng.integers(3, 9)), int(rng.integers(2, 5))
    world = World.draw(rng, n_models=n, n_task_types=types)
    if seed % 2:
        world = world.with_drift(Drift(steps // 2, world.best("type-0"), -0.3))
    scored = float(rng.choice([1.0, 0.4]))
    fixed = _fixed(rng, world)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*POLICIES, *fixed)}
    thompson, learner, x = make("thompson"), Learner(), encode(TYPICAL_CONTEXT_TOKENS)
    learner.register(world.facts())
    for step in range(steps):
        t = int(rng.integers(types))
        posterior = learner.posterior((Target.QUALITY,), intervals=False)
        offers = world.offers(posterior, step)
        expected = estimate(posterior, offers, world.task_types[t], x, TYPICAL_CONTEXT_TOKENS, latency=False, cost=False)
        about = beliefs(offers, expected, Preference())
        choice = choose(thompson, about, int(rng.integers(1 << 24)))
        answer = world.call(rng, world.models[choice.index], world.task_types[t], step)
        seen = bool(rng.random() < scored)
        for item in observations(answer, world.models[choice.index], world.task_types[t], 3 * step + 1, x, scored=seen):
            if not isinstance(item, Call) and item.target is Target.QUALITY:
                learner.fold(item)
        learner.advance(3 * step + 3)
        p, q, m = choice.propensities, expected.quality, choice.index
        truth = world.quality(step)[:, t]
        for name, kept in rows.items():
            pi = POLICIES[name].propensities(about) if name in POLICIES else np.eye(n)[fixed[name][t]]
            square = float(np.divide(pi**2, p, out=np.zeros(n), where=p > 0).sum())
            value = answer.quality if seen else np.nan
            kept.append((pi[m] / p[m], value, q[m], float(pi @ q), square, float(pi[p == 0].sum()), float(pi @ truth), t * n + m))
    return [_judge(name, np.array(kept)) for name, kept in rows.items()]


def _fixed(rng: np.random.Generator, world: World) -> dict[str, list[int]]:
    """Targets that do not learn: the model of each task type."""
    order = np.argsort(-world.quality(), axis=0)
    single = int(np.argsort(-world.quality().mean(axis=1))[rng.integers(2)])
    types = range(len(world.task_types))
    return {
        "one good model": [single for _ in types],
        "good rules": [int(order[rng.integers(2), t]) for t in types],
        "random rules": rng.integers(len(world.models), size=len(types)).tolist(),
    }


def _judge(name: str, columns: FloatArray) -> Held:
    weight, value, fitted, expected, square, unsupported, true, group = columns.T
    seen = (~np.isnan(value)).astype(float)
    sample = Sample(weight, value, observation_probability(seen, group.astype(np.int64)), fitted, expected, square)
    told, truth = support(sample, unsupported), float(true.mean())
    least = designed_variance(sample)
    robust = doubly_robust(sample)
    intervals = {
        "doubly robust": asymptotic(robust, around=expected, effective=told.effective, least=least if np.isfinite(least) else 0.0),
        "at any time": always_valid(robust, around=expected),
        "inverse propensity": asymptotic(inverse_propensity(sample), effective=told.effective),
        "self-normalised": asymptotic(np.nan_to_num(self_normalised(sample)), effective=told.effective),
        "clipped at 5": asymptotic(doubly_robust(sample, 5.0), around=expected, effective=told.effective),
    }
    main = intervals["doubly robust"]
    return Held(name, truth, told, {n: i.low <= truth <= i.high for n, i in intervals.items()}, main.high - main.low)
