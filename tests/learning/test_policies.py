"""One contract for every policy in the registry: a new one is tested by being registered."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from learning.choice import choose
from learning.errors import InvalidContext
from learning.policies import POLICIES, Beliefs, Policy, make
from learning.propensities import SCALE, best_probabilities, uniform_draw
from learning.simulation import World, play
from learning.targets import Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)
PARAMETERS = {"fixed": {"model": "model-03"}}
"""What a policy cannot do without; all others are made with their defaults."""
NEVER_EXPLORES = ("greedy", "fixed")


@pytest.fixture(scope="module", params=POLICIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    return make(request.param, **PARAMETERS.get(request.param, {}))


@st.composite
def beliefs(draw) -> Beliefs:
    n = draw(st.integers(1, 15))
    return Beliefs(
        models=tuple(f"model-{k:02d}" for k in range(n)),
        mean=np.array(draw(st.lists(st.floats(-2.0, 2.0), min_size=n, max_size=n))),
        sd=np.array(draw(st.lists(st.floats(1e-6, 2.0), min_size=n, max_size=n))),
    )


def subset(about: Beliefs, keep: list[int]) -> Beliefs:
    return Beliefs(tuple(about.models[i] for i in keep), about.mean[keep], about.sd[keep])


@PROPERTY
@given(about=beliefs())
def test_probabilities_over_exactly_the_eligible(policy: Policy, about: Beliefs) -> None:
    p = policy.propensities(about)
    assert p.shape == about.mean.shape
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1.0, abs=1e-9)
    choice = choose(policy, about, 0)
    assert int(choice.weights.sum()) == SCALE


@PROPERTY
@given(about=beliefs())
def test_choosing_changes_nothing_and_repeats_itself(policy: Policy, about: Beliefs) -> None:
    before = (about.mean.copy(), about.sd.copy(), repr(policy))
    first = policy.propensities(about)
    fresh = replace(about)
    np.testing.assert_array_equal(first, policy.propensities(fresh))
    np.testing.assert_array_equal(first, make(policy.name, **PARAMETERS.get(policy.name, {})).propensities(fresh))
    np.testing.assert_array_equal(about.mean, before[0])
    np.testing.assert_array_equal(about.sd, before[1])
    assert repr(policy) == before[2]


@PROPERTY
@given(about=beliefs(), u=st.integers(0, SCALE - 1))
def test_the_drawn_model_has_the_propensity_it_is_logged_with(policy: Policy, about: Beliefs, u: int) -> None:
    choice = choose(policy, about, u)
    assert choice.propensity == choice.weights[choice.index] / SCALE > 0
    assert choice.propensities[choice.index] == choice.propensity


@PROPERTY
@given(about=beliefs(), data=st.data())
def test_a_model_that_is_not_eligible_is_never_chosen(policy: Policy, about: Beliefs, data) -> None:
    """What is not among the beliefs cannot be drawn, whatever the policy would like."""
    keep = sorted(data.draw(st.sets(st.integers(0, len(about.models) - 1), min_size=1)))
    left = subset(about, keep)
    choice = choose(policy, left, data.draw(st.integers(0, SCALE - 1)))
    assert left.models[choice.index] in {about.models[i] for i in keep}
    assert len(choice.weights) == len(keep)


def test_a_single_eligible_model_is_certain(policy: Policy) -> None:
    choice = choose(policy, Beliefs(("only/one",), np.array([-3.0]), np.array([0.1])), SCALE - 1)
    assert (choice.index, choice.propensity) == (0, 1.0)


def test_observed_frequencies_match_the_propensities(policy: Policy) -> None:
    """Chi-square over 20,000 decision ids, p > 1e-4; models below 1e-3 are pooled."""
    about = Beliefs(tuple(f"model-{k:02d}" for k in range(6)), np.linspace(0.5, 0.8, 6), np.linspace(0.02, 0.2, 6))
    n = 20_000
    choices = [choose(policy, about, uniform_draw(b"salt", f"dec-{i}")) for i in range(n)]
    counts = np.bincount([c.index for c in choices], minlength=6)
    p = choices[0].propensities
    assert (counts[p == 0] == 0).all()
    rare = p < 1e-3
    observed, expected = np.append(counts[~rare], counts[rare].sum()), np.append(p[~rare], p[rare].sum()) * n
    used = expected > 0
    if used.sum() > 1:
        statistic = ((observed[used] - expected[used]) ** 2 / np.maximum(expected[used], 1.0)).sum()
        assert chi2.sf(statistic, used.sum() - 1) > 1e-4


def test_an_unseen_model_works(policy: Policy) -> None:
    """A model that is only a prior (wide, middling) joins well-known ones: valid, and explorers give it a chance."""
    known = Beliefs(("model-00", "model-03"), np.array([0.70, 0.65]), np.array([0.01, 0.01]))
    joined = Beliefs(("model-00", "model-03", "new/one"), np.array([0.70, 0.65, 0.68]), np.array([0.01, 0.01, 0.15]))
    assert policy.propensities(known).sum() == pytest.approx(1.0)
    p = policy.propensities(joined)
    assert p.sum() == pytest.approx(1.0)
    if policy.name not in NEVER_EXPLORES:
        assert p[2] > 0.005


def test_the_registry_names_its_policies(policy: Policy) -> None:
    assert POLICIES[policy.name] is type(policy)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("nonsense", {}, "choose one of thompson"),
        ("thompson", {"scale": 0.0}, "scale"),
        ("thompson", {"floor": 1.5}, "floor"),
        ("thompson", {"temperature": 1.0}, "no parameter temperature"),
        ("epsilon_greedy", {"epsilon": -0.1}, "epsilon"),
        ("linucb", {"alpha": 11.0}, "alpha"),
        ("linucb", {"alpha": float("nan")}, "alpha"),
        ("fixed", {}, "name the model"),
    ],
)
def test_what_cannot_be_made_says_why(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(InvalidContext, match=message):
        make(name, **parameters)


@pytest.fixture(scope="module")
def uniform_regret() -> float:
    return _regret("uniform")


def _regret(name: str, seeds: int = 3, steps: int = 700) -> float:
    """Mean regret per decision on worlds of 6 models and 3 types with 0/1 scores."""
    total = 0.0
    for seed in range(seeds):
        world = World.draw(np.random.default_rng(seed), 6, 3)
        parameters = {"model": world.best("type-0")} if name == "fixed" else {}
        total += play(world, make(name, **parameters), steps, np.random.default_rng(100 + seed), targets=(Target.QUALITY,)).regret.mean()
    return total / seeds


@pytest.mark.parametrize("name", [n for n in POLICIES if n != "uniform"])
def test_it_beats_uniform_on_a_simulated_world(name: str, uniform_regret: float) -> None:
    """By a third at least, over three worlds."""
    assert _regret(name) < 0.67 * uniform_regret


# Thompson sampling in particular


@PROPERTY
@given(about=beliefs())
def test_thompson_mixes_tempered_untempered_and_plausible_as_it_says(about: Beliefs) -> None:
    n, floor = len(about.mean), 0.1
    p = make("thompson", scale=0.7, floor=floor).propensities(about)
    if n == 1:
        assert p.tolist() == [1.0]
        return
    kappa = min(1.0, 0.7 / np.sqrt(2 * np.log(n)))
    top = about.mean.max()
    plausible = (about.mean > top - 0.1) | (about.mean + 1.5 * about.sd > top)
    mixed = (1 - floor) * best_probabilities(about.mean, kappa * about.sd) + floor * (
        0.8 * best_probabilities(about.mean, about.sd) + 0.2 * plausible / plausible.sum()
    )
    np.testing.assert_allclose(p, mixed, atol=1e-12)
    assert (p[plausible] >= floor * 0.2 / plausible.sum() - 1e-12).all(), "the floor holds for every plausible model"


@PROPERTY
@given(about=beliefs(), floor=st.floats(0.0, 1.0))
def test_linucb_chooses_the_highest_bound_up_to_its_floor(about: Beliefs, floor: float) -> None:
    p = make("linucb", alpha=1.0, floor=floor).propensities(about)
    top = int(np.argmax(about.mean + about.sd))
    assert p[top] == pytest.approx(1 - floor + floor / len(p))
    assert p.min() >= floor / len(p) - 1e-12


@PROPERTY
@given(about=beliefs(), epsilon=st.floats(0.0, 1.0))
def test_epsilon_greedy_spreads_epsilon_evenly(about: Beliefs, epsilon: float) -> None:
    p = make("epsilon_greedy", epsilon=epsilon).propensities(about)
    assert p[about.best()] == pytest.approx(1 - epsilon + epsilon / len(p))
    assert np.delete(p, about.best()) == pytest.approx(np.full(len(p) - 1, epsilon / len(p)))


def test_fixed_falls_back_to_the_best_where_its_model_is_not_eligible() -> None:
    about = Beliefs(("a/one", "b/two"), np.array([0.1, 0.9]), np.array([0.1, 0.1]))
    assert make("fixed", model="a/one").propensities(about).tolist() == [1.0, 0.0]
    assert make("fixed", model="gone/away").propensities(about).tolist() == [0.0, 1.0]
