"""From posterior to choice: prices, weights and limits act at decision time, without learning anything."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.choice import Offers, Preference, beliefs, choose, estimate
from learning.errors import InvalidContext
from learning.facts import ArmFacts
from learning.features import encode
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.policies import make
from learning.propensities import uniform_draw
from learning.simulation import World, observations, play
from learning.targets import Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)
X = encode(1000)
WORLD = World.draw(np.random.default_rng(4), 6, 3)


@pytest.fixture(scope="module")
def learner() -> Learner:
    return play(WORLD, make("uniform"), 300, np.random.default_rng(5)).learner


def offered(learner: Learner, **changes) -> Offers:
    return replace(WORLD.offers(learner.posterior()), **changes)


def favourite(learner: Learner, offers: Offers, preference: Preference, task_type: str = "type-0") -> tuple[int, np.ndarray]:
    posterior = learner.posterior()
    about = beliefs(offers, estimate(posterior, offers, task_type, X, 1000), preference)
    return choose(make("greedy"), about, 0).index, about.mean


@PROPERTY
@given(quality=st.floats(0.0, 10.0), cost=st.floats(0.0, 1e4), latency=st.floats(0.0, 10.0))
def test_utility_is_what_the_preference_says(learner: Learner, quality: float, cost: float, latency: float) -> None:
    if quality == cost == latency == 0.0:
        return
    posterior, offers = learner.posterior(), offered(learner)
    e = estimate(posterior, offers, "type-1", X, 1000)
    about = beliefs(offers, e, Preference(quality, cost, latency))
    expected = quality * e.quality * (1 - e.failure) - cost * e.cost - latency * e.latency
    np.testing.assert_allclose(about.mean, expected, rtol=1e-9, atol=1e-9)
    variance = (quality * (1 - e.failure)) ** 2 * e.quality_var + cost**2 * e.cost_var + latency**2 * e.latency_var
    np.testing.assert_allclose(about.sd, np.sqrt(np.maximum(variance, 1e-12)), rtol=1e-9)
    assert tuple(about.models) == WORLD.models


@PROPERTY
@given(weights=st.lists(st.floats(0.0, 2000.0), min_size=2, max_size=6).map(sorted), task_type=st.sampled_from(WORLD.task_types))
def test_a_heavier_cost_weight_never_makes_the_favourite_dearer(learner: Learner, weights: list[float], task_type: str) -> None:
    offers = offered(learner)
    cost = estimate(learner.posterior(), offers, task_type, X, 1000).cost
    chosen = [cost[favourite(learner, offers, Preference(1.0, w, 0.0), task_type)[0]] for w in weights]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(chosen))


@PROPERTY
@given(k=st.integers(0, 5), factor=st.floats(0.05, 1.0), weight=st.floats(0.0, 500.0))
def test_a_lower_price_never_hurts_and_needs_no_learning(learner: Learner, k: int, factor: float, weight: float) -> None:
    """The same posterior object, cheaper tokens: the model's probability under near-greedy sampling does not fall."""
    posterior, offers = learner.posterior(), offered(learner)
    scale = np.ones(6)
    scale[k] = factor
    cheaper = replace(offers, input_price=offers.input_price * scale, output_price=offers.output_price * scale)
    near_greedy = make("thompson", scale=0.01, floor=0.0)
    p = [
        near_greedy.propensities(beliefs(o, estimate(posterior, o, "type-0", X, 1000), Preference(1.0, weight, 0.0)))[k]
        for o in (offers, cheaper)
    ]
    assert p[1] >= p[0] - 1e-6
    assert learner.posterior() is posterior


@PROPERTY
@given(data=st.data())
def test_leaving_models_out_changes_nothing_about_the_others(learner: Learner, data) -> None:
    keep = sorted(data.draw(st.sets(st.integers(0, 5), min_size=1)))
    posterior, offers = learner.posterior(), offered(learner)
    whole = estimate(posterior, offers, "type-2", X, 1000).take(keep)
    part = estimate(posterior, offers.take(keep), "type-2", X, 1000)
    for name in whole.__slots__:
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name), rtol=1e-12, err_msg=name)


def test_a_longer_input_costs_more_and_a_cap_on_output_caps_the_cost(learner: Learner) -> None:
    posterior, offers = learner.posterior(), offered(learner)
    short, long = (estimate(posterior, offers, "type-0", X, n) for n in (1_000, 50_000))
    assert (long.cost > short.cost).all()
    capped = estimate(posterior, offers, "type-0", X, 1_000, max_output_tokens=1)
    np.testing.assert_allclose(capped.cost, offers.input_price * 1_000 + offers.output_price)
    np.testing.assert_allclose(capped.cost_p95, capped.cost)


def test_what_nobody_asks_for_is_skipped(learner: Learner) -> None:
    e = estimate(learner.posterior(), offered(learner), "type-0", X, 1000, cost=False, latency=False)
    assert np.isnan(e.cost).all()
    assert np.isnan(e.latency).all()
    assert np.isfinite(e.quality).all()


def test_expected_cost_and_latency_are_those_of_the_world() -> None:
    """After 300 calls of each model: within 15 %, means of skewed quantities included."""
    rng, learner = np.random.default_rng(6), Learner(1e9)
    learner.register(WORLD.facts())
    for clock in range(300):
        for model in WORLD.models:
            answer = WORLD.call(rng, model, "type-0")
            for item in observations(answer, model, "type-0", clock, X):
                if isinstance(item, Call):
                    learner.fold_call(item)
                else:
                    learner.fold(item)
    e = estimate(learner.posterior(), WORLD.offers(learner.posterior()), "type-0", X, 1000)
    np.testing.assert_allclose(e.cost, WORLD.expected_cost()[:, 0], rtol=0.15)
    np.testing.assert_allclose(e.latency, WORLD.expected_latency()[:, 0], rtol=0.2)
    np.testing.assert_allclose(e.quality, WORLD.quality()[:, 0], atol=0.08)


def test_the_dear_end_of_a_call_is_rarely_exceeded() -> None:
    """The 95 % point of cost and latency holds for 92 to 98 % of new calls."""
    rng, learner = np.random.default_rng(7), Learner(1e9)
    learner.register(WORLD.facts())
    for clock in range(200):
        for model in WORLD.models:
            for item in observations(WORLD.call(rng, model, "type-1"), model, "type-1", clock, X):
                if isinstance(item, Observation):
                    learner.fold(item)
    e = estimate(learner.posterior(), WORLD.offers(learner.posterior()), "type-1", X, 1000)
    new = [[WORLD.call(rng, m, "type-1") for _ in range(400)] for m in WORLD.models]
    below_cost = np.mean([[a.cost_usd <= e.cost_p95[k] for a in answers] for k, answers in enumerate(new)])
    below_latency = np.mean([[a.latency_s <= e.latency_p95[k] for a in answers] for k, answers in enumerate(new)])
    assert 0.92 <= below_cost <= 0.98
    assert 0.92 <= below_latency <= 0.98


def test_without_a_price_the_bills_tell_and_without_bills_nothing_does() -> None:
    learner = Learner()
    learner.register({m: ArmFacts() for m in ("billed/a", "free/b", "unknown/c")})
    for i in range(60):
        learner.fold(Observation(Target.COST, "billed/a", "code", X, math.log(0.02), i))
    posterior = learner.posterior()
    index = np.array([posterior.model_index[m] for m in ("billed/a", "free/b", "unknown/c")])
    nan = math.nan
    offers = Offers(("billed/a", "free/b", "unknown/c"), index, np.array([nan, 0.0, nan]), np.array([nan, 0.0, nan]))
    e = estimate(posterior, offers, "code", X, 1000)
    assert e.cost[0] == pytest.approx(0.02, rel=0.25)
    assert e.cost[1] == 0.0
    assert np.isnan(e.cost[2])
    about = beliefs(offers, e, Preference(0.0, 1.0, 0.0))
    assert about.mean[2] == pytest.approx(about.mean[0]), "unknown counts as the dearest of those known"
    assert np.isfinite(about.mean).all()
    assert np.isfinite(about.sd).all()


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (1.0, math.nan, 0.0), (1.0, 0.0, math.inf)])
def test_weights_that_mean_nothing_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidContext, match="weights"):
        Preference(*weights)


def test_a_replay_of_the_same_log_and_salt_decides_the_same(learner: Learner) -> None:
    other = play(WORLD, make("uniform"), 300, np.random.default_rng(5)).learner
    decisions = []
    for one in (learner, other):
        posterior, offers = one.posterior(), offered(one)
        about = beliefs(offers, estimate(posterior, offers, "type-0", X, 1000), Preference(1.0, 20.0, 0.0))
        drawn = [choose(make("thompson"), about, uniform_draw(b"salt", f"dec-{i}")) for i in range(200)]
        decisions.append([(c.index, c.propensity) for c in drawn])
    assert decisions[0] == decisions[1]


def test_what_is_expected_of_a_model_is_the_same_in_any_company(learner: Learner) -> None:
    """To the bit: a decision can be recomputed whatever else there was to choose from."""
    posterior, offers = learner.posterior(), offered(learner)
    together = estimate(posterior, offers, "type-1", X, 1000)
    for few in ([0], [2, 4], [1, 3, 5]):
        apart = estimate(posterior, offers.take(few), "type-1", X, 1000)
        for name in apart.__slots__:
            assert getattr(apart, name).tolist() == getattr(together, name)[few].tolist(), name
