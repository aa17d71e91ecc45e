"""The simulated world: its closed forms hold in the draws, and its events happen when they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.choice import Preference
from learning.errors import UnknownModel
from learning.policies import make
from learning.simulation import Drift, World, play
from learning.targets import Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=20)


@PROPERTY
@given(seed=st.integers(0, 10**6), k=st.integers(1, 8), t=st.integers(1, 5), cost=st.floats(0.0, 1e3))
def test_the_best_model_has_no_regret_and_no_other_has_less(seed: int, k: int, t: int, cost: float) -> None:
    world = World.draw(np.random.default_rng(seed), k, t)
    preference = Preference(1.0, cost, 0.001)
    for task_type in world.task_types:
        assert world.regret(world.best(task_type, preference), task_type, preference) == 0.0
        assert min(world.regret(m, task_type, preference) for m in world.models) == 0.0
    assert ((world.quality() > 0) & (world.quality() < 1)).all()


@pytest.mark.parametrize("concentration", [None, 8.0])
def test_draws_have_the_expectations_the_world_states(concentration: float | None) -> None:
    """4,000 calls: each mean within 5 standard errors."""
    world = World.draw(np.random.default_rng(2), 3, 2, concentration=concentration, failure_rate=0.1)
    rng = np.random.default_rng(3)
    answers = [world.call(rng, "model-01", "type-1") for _ in range(4_000)]
    for values, expected in (
        ([a.quality for a in answers], world.quality()[1, 1]),
        ([a.output_tokens for a in answers], world.expected_tokens()[1, 1]),
        ([a.cost_usd for a in answers], world.expected_cost()[1, 1]),
        ([a.latency_s for a in answers], world.expected_latency()[1, 1]),
        ([a.failed for a in answers], 0.1),
    ):
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - expected) < 5 * error
    assert {a.quality for a in answers} <= {0.0, 1.0} or concentration is not None
    assert all(0.0 <= a.quality <= 1.0 for a in answers)


def test_events_happen_from_their_step_on() -> None:
    world = World.draw(np.random.default_rng(0)).with_drift(Drift(100, "model-02", quality=-0.3), Drift(50, "model-01", price=4.0))
    assert (world.quality(99) == world.base_quality).all()
    fell = world.quality(99) - world.quality(100)
    assert (fell[2] > 0.2).all()
    assert (np.delete(fell, 2, axis=0) == 0).all()
    assert world.prices(50)[0][1] == pytest.approx(4 * world.prices(49)[0][1])
    np.testing.assert_allclose(world.expected_cost(50)[1], 4 * world.expected_cost(49)[1])


def test_an_event_about_nobody_is_refused() -> None:
    with pytest.raises(UnknownModel, match="nobody"):
        World.draw(np.random.default_rng(0)).with_drift(Drift(1, "nobody"))


def test_the_same_seeds_give_the_same_pass() -> None:
    world = World.draw(np.random.default_rng(1), 4, 2, failure_rate=0.2)
    passes = [play(world, make("thompson"), 60, np.random.default_rng(2), feedback_rate=0.5) for _ in range(2)]
    np.testing.assert_array_equal(passes[0].model, passes[1].model)
    assert passes[0].learner.statistics.digest() == passes[1].learner.statistics.digest()


def test_failed_calls_and_unscored_ones_leave_no_scores() -> None:
    world = World.draw(np.random.default_rng(1), 3, 2, failure_rate=0.5)
    silent = play(world, make("uniform"), 50, np.random.default_rng(2), feedback_rate=0.0).learner
    assert silent.statistics.labels[Target.QUALITY].sum() == 0
    assert silent.statistics.calls.sum() > 49
    assert 0 < silent.statistics.labels[Target.OUTPUT_TOKENS].sum() < 50
