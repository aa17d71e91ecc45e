"""The whole learner on simulated worlds against stated references; seeds and margins are fixed."""

from dataclasses import replace

import numpy as np
import pytest

from learning.choice import Preference, estimate
from learning.drift import Watch
from learning.features import encode
from learning.learner import Learner
from learning.observations import Observation
from learning.policies import make
from learning.simulation import Drift, World, play
from learning.targets import Target

SEEDS = range(4)
STEPS = 1_000
QUALITY = (Target.QUALITY,)
X = encode(1000)


def world(seed: int) -> World:
    return World.draw(np.random.default_rng(seed), 10, 5)


def regret(name: str, seed: int, **parameters) -> np.ndarray:
    return play(world(seed), make(name, **parameters), STEPS, np.random.default_rng(100 + seed), targets=QUALITY).regret


@pytest.fixture(scope="module")
def learned() -> np.ndarray:
    """(seeds, steps) regret of the default policy."""
    return np.array([regret("thompson", seed) for seed in SEEDS])


@pytest.fixture(scope="module")
def uniform() -> np.ndarray:
    """(seeds, steps): regret of uniform choice, which needs no learner."""
    out = np.zeros((len(SEEDS), STEPS))
    for row, seed in enumerate(SEEDS):
        rng, utility = np.random.default_rng(100 + seed), world(seed).utility()
        model, task = rng.integers(10, size=STEPS), rng.integers(5, size=STEPS)
        out[row] = utility.max(axis=0)[task] - utility[model, task]
    return out


def per_cell(seed: int, epsilon: float) -> np.ndarray:
    """(steps,) regret of the textbook learner: sample means per (model, type) from zero, nothing shared."""
    rng, w = np.random.default_rng(100 + seed), world(seed)
    utility, total, count, out = w.utility(), np.zeros((10, 5)), np.zeros((10, 5)), np.zeros(STEPS)
    for step in range(STEPS):
        t = int(rng.integers(5))
        means = total[:, t] / np.maximum(count[:, t], 1)
        k = int(rng.integers(10)) if rng.random() < epsilon else int(means.argmax())
        total[k, t] += w.call(rng, w.models[k], w.task_types[t]).quality
        count[k, t] += 1
        out[step] = utility[:, t].max() - utility[k, t]
    return out


def test_less_than_half_the_regret_of_uniform_choice(learned: np.ndarray, uniform: np.ndarray) -> None:
    """In total below 0.35, and below on every seed, also where the models hardly differ (seed 1)."""
    assert learned.sum() < 0.35 * uniform.sum()
    assert (learned.sum(axis=1) < 0.95 * uniform.sum(axis=1)).all()


def test_less_regret_than_the_textbook_learners(learned: np.ndarray) -> None:
    """Below greedy from zero by half, below per-cell epsilon-greedy by a third."""
    assert learned.sum() < 0.5 * sum(per_cell(seed, 0.0).sum() for seed in SEEDS)
    assert learned.sum() < 0.67 * sum(per_cell(seed, 0.1).sum() for seed in SEEDS)


def test_regret_grows_more_slowly_with_time(learned: np.ndarray) -> None:
    """A decision of the last quarter costs less than 60 % of one of the first hundred."""
    assert learned[:, -STEPS // 4 :].mean() < 0.6 * learned[:, :100].mean()


def test_one_score_in_five_still_teaches(uniform: np.ndarray) -> None:
    passes = [
        play(world(seed), make("thompson"), STEPS, np.random.default_rng(100 + seed), targets=QUALITY, feedback_rate=0.2) for seed in SEEDS
    ]
    assert sum(p.regret.sum() for p in passes) < 0.75 * uniform.sum()


def test_cost_and_latency_are_weighed_in() -> None:
    """Utility with all three terms: below half of uniform's regret, and cheaper than the choice by quality alone."""
    preference, ours, random, cost = Preference(1.0, 50.0, 0.01), 0.0, 0.0, np.zeros(2)
    for seed in (0, 1):
        w = world(seed)
        weighed = play(w, make("thompson"), 600, np.random.default_rng(seed), preference=preference)
        best_only = play(w, make("thompson"), 600, np.random.default_rng(seed), targets=QUALITY)
        utility = w.utility(preference)
        ours += weighed.regret.sum()
        random += 600 * (utility.max(axis=0) - utility.mean(axis=0)).mean()
        cost += [w.expected_cost()[p.model, p.task].mean() for p in (weighed, best_only)]
    assert ours < 0.5 * random
    assert cost[0] < 0.7 * cost[1]


def test_a_price_change_acts_on_the_next_decision() -> None:
    """The favourite becomes a thousand times dearer: without one more observation it is all but abandoned."""
    preference = Preference(1.0, 50.0, 0.0)
    w = world(2)
    learner = play(w, make("thompson"), 500, np.random.default_rng(1), preference=preference).learner
    before = play(w, make("greedy"), 60, np.random.default_rng(2), preference=preference, learner=learner)
    favourite = int(np.bincount(before.model).argmax())
    dearer = w.with_drift(Drift(0, w.models[favourite], price=1000.0))
    after = play(dearer, make("thompson"), 60, np.random.default_rng(3), preference=preference, learner=before.learner, targets=())
    assert (before.model == favourite).mean() > 0.3
    assert (after.model == favourite).mean() < 0.05


def test_forgetting_follows_a_model_that_degrades() -> None:
    """A model loses 0.3 after 1,500 of 2,300 scores: without a detector, a half-life of 500 leaves its estimate under 0.6 as far off."""
    off = {}
    for half_life in (1e9, 500.0):
        errors = []
        for seed in SEEDS:
            w = replace(world(seed), concentration=8.0).with_drift(Drift(1_500, "model-03", quality=-0.3))
            rng, learner = np.random.default_rng(seed), Learner(half_life, watch=Watch({}))
            learner.register(w.facts())
            for step in range(2_300):
                model, task_type = w.models[rng.integers(10)], w.task_types[rng.integers(5)]
                learner.fold(Observation(Target.QUALITY, model, task_type, X, w.call(rng, model, task_type, step).quality, step))
            posterior = learner.posterior()
            estimates = [estimate(posterior, w.offers(posterior), t, X, 1000).quality for t in w.task_types]
            errors.append(np.abs(np.array(estimates).T - w.quality(2_300)).mean(axis=1))
        off[half_life] = np.mean(errors, axis=0)
    assert off[500.0][3] < 0.6 * off[1e9][3]
    assert np.delete(off[500.0], 3).mean() < 2.0 * np.delete(off[1e9], 3).mean(), "at a bearable cost to the steady ones"


def without(w: World, k: int) -> World:
    """The world before model ``k`` joined."""
    keep = np.delete(np.arange(len(w.models)), k)
    arrays = {name: getattr(w, name)[keep] for name in
              ("base_quality", "log_tokens", "first_token_s", "tokens_per_s", "input_price", "output_price", "failure_rate")}  # fmt: skip
    return replace(w, models=tuple(w.models[i] for i in keep), **arrays)


@pytest.mark.parametrize("rank", ["best", "worst"])
def test_a_newcomer_gets_its_chance_and_no_more(rank: str) -> None:
    """In the first 300 decisions after it joined: the best model more than 5 % on average, the worst less than 10 % always."""
    shares = []
    for seed in range(4):
        w = world(seed)
        k = int(w.base_quality.mean(axis=1).argmax() if rank == "best" else w.base_quality.mean(axis=1).argmin())
        rng = np.random.default_rng(100 + seed)
        learner = play(without(w, k), make("thompson"), 500, rng, targets=QUALITY).learner
        shares.append((play(w, make("thompson"), 300, rng, targets=QUALITY, learner=learner).model == k).mean())
    assert np.mean(shares) > 0.05 if rank == "best" else max(shares) < 0.10
