"""A newcomer starts from what was found of its kin: the same weights at another host, the speed of its host's other models."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import state
from learning.facts import ArmFacts
from learning.features import encode
from learning.hierarchy import inherited
from learning.learner import Learner
from learning.observations import Observation
from learning.targets import Target
from tests.learning.test_learner import fold, fresh, predictions, score
from tests.learning.test_state import identical

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
X = encode(1000)
POOL = {
    "a/good": ArmFacts(1.0, 3.0, weights="good", host="a"),
    "b/poor": ArmFacts(1.0, 3.0, weights="poor", host="b"),
    "c/fair": ArmFacts(1.0, 3.0, weights="fair", host="c"),
}
LEVELS = {"a/good": 0.95, "b/poor": 0.35, "c/fair": 0.65}
MOVED = ArmFacts(1.0, 3.0, weights="good", host="z")
STRANGER = ArmFacts(1.0, 3.0, weights="unheard of", host="y")


def experienced() -> Learner:
    """300 scores: more than the pool of a newcomer needs."""
    rng = np.random.default_rng(1)
    return fold(
        fresh(1e9, POOL),
        [score(m, t, float(v + 0.05 * rng.normal()), i) for i in range(50) for m, v in LEVELS.items() for t in ("code", "math")],
    )


def expected(learner: Learner, model: str, target: Target = Target.QUALITY) -> tuple[float, float]:
    return predictions(learner.posterior())[f"{target.name}/{model}/code"]


@PROPERTY
@given(seed=st.integers(0, 10**6), k=st.integers(1, 5), likeness=st.floats(0.05, 0.95))
def test_what_is_inherited_equals_the_dense_joint_posterior(
    dense: Callable[..., tuple[np.ndarray, np.ndarray]], seed: int, k: int, likeness: float
) -> None:
    """Columns: the shared f, the own parts of k elders, that of the newcomer; some elders were never tried."""
    rng = np.random.default_rng(seed)
    model_var, precision, mean = 0.01, rng.choice([0.0, 1.0, 1.0], size=k) * rng.uniform(1, 5_000, size=k), 0.1 * rng.normal(size=k)
    tried = np.flatnonzero(precision)
    design = np.zeros((len(tried), k + 2))
    design[:, 0] = 1.0
    design[np.arange(len(tried)), 1 + tried] = 1.0
    prior = np.array([likeness, *[1.0 - likeness] * (k + 1)]) * model_var
    z, covariance = dense(design, mean[tried], 1.0 / precision[tried], np.zeros(k + 2), prior)
    query = np.zeros(k + 2)
    query[[0, -1]] = 1.0
    got_mean, got_variance = inherited(precision * mean, precision, model_var, likeness)
    assert got_mean == pytest.approx(query @ z, abs=1e-10)
    assert got_variance == pytest.approx(query @ covariance @ query, rel=1e-8)


def test_the_same_weights_at_another_host_start_where_they_were_found() -> None:
    learner = experienced()
    learner.register({**POOL, "z/good": MOVED, "y/new": STRANGER})
    found, _ = expected(learner, "a/good")
    mean, variance = expected(learner, "z/good")
    strange, wide = expected(learner, "y/new")
    assert strange + 0.6 * (found - strange) < mean < found, "likely as good, no more"
    assert variance < wide


def test_models_known_from_the_start_inherit_nothing() -> None:
    facts = {**POOL, "z/good": MOVED}
    rng = np.random.default_rng(1)
    scores = [score(m, "code", float(v + 0.05 * rng.normal()), i) for i in range(100) for m, v in LEVELS.items()]
    kin, strangers = (fold(fresh(1e9, f), scores) for f in (facts, {**facts, "z/good": STRANGER}))
    assert predictions(kin.posterior()) == predictions(strangers.posterior())


def test_nothing_of_a_newcomer_flows_back_but_elders_move_it() -> None:
    learner = experienced()
    learner.register({**POOL, "z/good": MOVED})
    before, fits = predictions(learner.posterior()), learner.common(Target.QUALITY)
    fold(learner, [score("z/good", "code", 0.0, 400)])
    after = predictions(learner.posterior())
    assert {key.split("/", 1)[1].rsplit("/", 1)[0] for key in before if before[key] != after[key]} == {"z/good"}
    fold(learner, [score("a/good", "code", 0.0, 401)])
    moved = predictions(learner.posterior())
    assert learner.common(Target.QUALITY) is fits, "the test must not cross a refit"
    assert {key.split("/", 1)[1].rsplit("/", 1)[0] for key in before if moved[key] != after[key]} == {"a/good", "z/good"}


def test_a_host_hands_its_speed_on_and_nothing_else() -> None:
    learner = experienced()
    slow = [Observation(Target.LATENCY, m, "code", X, 3.0 if m == "a/good" else 1.0, i) for i in range(100) for m in POOL]
    fold(learner, slow)
    learner.register({**POOL, "a/new": ArmFacts(1.0, 3.0, weights="new", host="a"), "y/new": STRANGER})
    assert expected(learner, "a/new", Target.LATENCY)[0] > expected(learner, "y/new", Target.LATENCY)[0] + 0.2
    assert expected(learner, "a/new") == expected(learner, "y/new")


def test_the_evidence_of_an_elder_counts_once_along_a_chain() -> None:
    """The second newcomer reads the first, which says nothing of its own, and their elder: as if the first were not there."""
    chained, alone = experienced(), experienced()
    chained.register({**POOL, "y/good": MOVED})
    fold(chained, [score("b/poor", "math", 0.35, 500)])
    fold(alone, [score("b/poor", "math", 0.35, 500)])
    chained.register({**POOL, "y/good": MOVED, "z/good": MOVED})
    alone.register({**POOL, "z/good": MOVED})
    assert chained.joined["z/good"] > chained.joined["y/good"]
    np.testing.assert_allclose(expected(chained, "z/good"), expected(alone, "z/good"), rtol=1e-9)


def test_a_restored_state_keeps_what_was_inherited() -> None:
    facts = {**POOL, "y/good": MOVED, "z/good": MOVED}
    learner = experienced()
    learner.register({**POOL, "y/good": MOVED})
    fold(learner, [score(m, "code", 0.5, 400 + i) for i in range(7) for m in (*POOL, "y/good")])
    learner.register(facts)
    rng = np.random.default_rng(3)
    later = [score(m, t, float(rng.random()), 500 + i) for i in range(40) for m in facts for t in ("code", "rare")]
    learner.posterior()
    fold(learner, later[:130])
    restored = state.load(state.save(learner), facts)
    identical(learner.posterior(), restored.posterior())
    for one in (learner, restored):
        fold(one, later[130:])
    identical(learner.posterior(), restored.posterior())
    assert state.save(learner) == state.save(restored)
