"""The fold: incremental equals rebuilt equals dense, for any order, lateness, new model or type."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import state
from learning.facts import ArmFacts
from learning.features import N_FEATURES, encode
from learning.hierarchy import Common
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.posterior import Posterior
from learning.targets import PRIORS, Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
FACTS = {"a/one": ArmFacts(0.1, 0.8), "b/two": ArmFacts(9.0, None, 1300.0), "c/three": ArmFacts()}
ABILITY = {"a/one": 0.7 * np.log(0.1) / 1.5, "b/two": (0.7 * np.log(9.0) / 1.5 + 0.5) / 2, "c/three": -0.5}
"""By hand: 0.7 of a standard deviation of the log price, hundreds of rating points over 1250, their mean where both are known."""
X = encode(1000)


def fold(learner: Learner, items) -> Learner:
    for item in items:
        if isinstance(item, Call):
            learner.fold_call(item)
        else:
            learner.fold(item)
    return learner


def fresh(half_life: float = 700.0, facts=FACTS) -> Learner:
    learner = Learner(half_life)
    learner.register(facts)
    return learner


def score(model: str, task_type: str, value: float, clock: int = 1, target: Target = Target.QUALITY, x=X) -> Observation:
    return Observation(target, model, task_type, x, value, clock)


def predictions(posterior: Posterior, x=X) -> dict[str, tuple[float, float]]:
    """Mean and variance of every target, model and type by name."""
    out = {}
    for target in Target:
        for task_type in (*posterior.task_types, "never seen"):
            mean, variance = posterior.predict(target, posterior.task(task_type), x)
            for m, model in enumerate(posterior.models):
                out[f"{target.name}/{model}/{task_type}"] = (float(mean[m]), float(variance[m]))
    return out


def same(one: Posterior, other: Posterior, tolerance: float) -> None:
    left, right = predictions(one), predictions(other)
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_allclose(left[key], right[key], rtol=tolerance, atol=tolerance, err_msg=key)


@PROPERTY
@given(data=st.data())
def test_the_incremental_posterior_equals_one_rebuilt_from_the_statistics(logs, data) -> None:
    log = data.draw(logs.any)
    learner = fresh()
    for item in log:
        fold(learner, [item])
        learner.posterior()
    same(learner.posterior(), state.load(state.save(learner), FACTS).posterior(), 1e-8)


@PROPERTY
@given(data=st.data())
def test_it_does_not_matter_when_somebody_looks(logs, data) -> None:
    log = data.draw(logs.any)
    watched, unwatched = fresh(), fold(fresh(), log)
    for item in log:
        fold(watched, [item])
        watched.posterior()
    same(watched.posterior(), unwatched.posterior(), 0.0)
    np.testing.assert_array_equal(watched.posterior().failure_rate, unwatched.posterior().failure_rate)


@PROPERTY
@given(data=st.data())
def test_the_posterior_equals_a_dense_solve_of_the_raw_observations(logs, dense, data) -> None:
    """Given the common part, each model is one Gaussian linear regression on [x, one-hot type], decayed weights and all."""
    log = [o for o in data.draw(logs.observations) if o.target is Target.QUALITY]
    learner = fold(fresh(half_life=1e12), log)
    posterior, common = learner.posterior(), learner.common(Target.QUALITY)
    types = posterior.task_types
    for model in posterior.models:
        own = [o for o in log if o.model == model]
        mean, covariance = dense(*regression(own, types, common, posterior, model))
        for t, task_type in enumerate(types):
            query = np.concatenate([X, np.eye(len(types))[t]])
            got_mean, got_variance = posterior.predict(Target.QUALITY, posterior.task(task_type), X)
            k = posterior.model_index[model]
            ease = common.task[t] if t < len(common.task) else 0.0
            assert got_mean[k] == pytest.approx(query @ mean + ease, abs=1e-6)
            assert got_variance[k] == pytest.approx(query @ covariance @ query, rel=1e-6)


def regression(own, types, common: Common, posterior: Posterior, model: str):
    """Design, responses, noise, prior mean and prior variance of one model's regression."""
    n_tasks = len(types)
    ease, noise = np.zeros(n_tasks), np.full(n_tasks, common.pooled_noise)
    ease[: len(common.task)], noise[: len(common.noise)] = common.task, common.noise
    task = np.array([types.index(o.task_type) for o in own], dtype=int)
    design = np.zeros((len(own), N_FEATURES + n_tasks))
    for i, o in enumerate(own):
        design[i, :N_FEATURES], design[i, N_FEATURES + task[i]] = o.features, 1.0
    y = np.array([o.value for o in own]) - ease[task]
    spread = noise[task] / np.array([o.weight for o in own])
    # what the facts say enters through the model's centre only; it is read off a model nobody tried
    covariate = ABILITY[model]
    prior_mean = np.concatenate([common.zeta, np.zeros(n_tasks)])
    prior_mean[0] += common.beta * covariate
    return design, y, spread, prior_mean, np.concatenate([common.model_var, np.full(n_tasks, common.cell_var)])


def converged(items, half_life: float = 700.0) -> Learner:
    """A learner whose common part no longer depends on the path: only the statistics decide."""
    learner = fold(fresh(half_life), items)
    for _ in range(40):
        for s in learner._targets:
            s.refit(learner.statistics)
    learner._posterior = None
    return learner


@settings(deadline=None, derandomize=True, max_examples=5)
@given(data=st.data())
def test_any_order_of_arrival_ends_in_the_same_posterior(logs, data) -> None:
    """Hyper-parameters walk towards their fixed point, so that the order shows only until they are there."""
    log = data.draw(logs.observations)
    same(converged(log).posterior(), converged(data.draw(st.permutations(log))).posterior(), 2e-3)


@settings(deadline=None, derandomize=True, max_examples=5)
@given(data=st.data())
def test_retracted_evidence_leaves_no_trace_in_the_posterior(logs, data) -> None:
    """The same clocks are seen by both, so that only the content differs."""
    log = data.draw(logs.observations)
    wrong = replace(log[0], value=log[0].value + 1.0)
    detour = [log[0], wrong, *log[1:], replace(wrong, weight=-wrong.weight)]
    same(converged(log).posterior(), converged(detour).posterior(), 2e-3)


def test_reported_variances_equal_those_of_the_dense_joint_model(dense) -> None:
    """At neutral features and settled hyper-parameters: own variance plus shared variance is the joint posterior's, to 1 %.

    Columns: level, worth of the covariate, three types, three models, nine cells.
    """
    rng = np.random.default_rng(2)
    log = [score(m, t, float(rng.random()), i) for i in range(25) for m in FACTS for t in ("code", "math") if rng.random() < 0.7]
    log.append(score("a/one", "rare", 0.4))
    learner = converged(log, half_life=1e9)
    common, posterior, prior = learner.common(Target.QUALITY), learner.posterior(), PRIORS[Target.QUALITY]
    covariate = ABILITY
    names, types = list(posterior.models), list(posterior.task_types)

    def row(model: str, task_type: str | None) -> np.ndarray:
        m, out = names.index(model), np.zeros(2 + 3 + 3 + 9)
        out[[0, 1, 5 + m]] = 1.0, covariate[model], 1.0
        if task_type is not None:
            t = types.index(task_type)
            out[[2 + t, 8 + 3 * m + t]] = 1.0
        return out

    design, y = np.array([row(o.model, o.task_type) for o in log]), np.array([o.value for o in log])
    noise = common.noise[[types.index(o.task_type) for o in log]]
    variances = [[prior.mean_sd**2, prior.covariate_sd**2], [common.task_var] * 3, [common.model_var[0]] * 3, [common.cell_var] * 9]
    prior_mean = np.zeros(17)
    prior_mean[:2] = prior.mean, prior.covariate_mean
    mean, covariance = dense(design, y, noise, prior_mean, np.concatenate(variances))
    for task_type in (*types, None):
        task = posterior.task(task_type or "never seen")
        got, own = posterior.predict(Target.QUALITY, task, X)
        reported = posterior.interval_variance(Target.QUALITY, task, own)
        for k, model in enumerate(names):
            query = row(model, task_type)
            new = 0.0 if task_type else common.task_var + common.cell_var  # an unseen type brings its own ease and effect
            assert got[k] == pytest.approx(query @ mean, abs=2e-3)
            assert reported[k] == pytest.approx(query @ covariance @ query + new, rel=0.01), (model, task_type)


def test_evidence_never_widens_a_posterior_between_refits() -> None:
    learner = fresh(half_life=1e9)
    rng = np.random.default_rng(0)
    fold(learner, [score(m, t, float(rng.random()), i) for i in range(200) for m in FACTS for t in ("code", "math")])
    fits = learner.common(Target.QUALITY)
    for i in range(8):
        before = predictions(learner.posterior())
        fold(learner, [score("a/one", "code", float(rng.random()), 700 + i)])
        assert learner.common(Target.QUALITY) is fits, "the test must not cross a refit"
        after = predictions(learner.posterior())
        assert all(after[key][1] <= before[key][1] * (1 + 1e-12) for key in before)


def test_evidence_of_one_model_does_not_move_another_between_refits() -> None:
    learner = fresh(half_life=1e9)
    fold(learner, [score(m, "code", 0.5, i) for i in range(200) for m in FACTS])
    before = predictions(learner.posterior())
    fold(learner, [score("a/one", "code", 1.0, 700)])
    after = predictions(learner.posterior())
    moved = {key.split("/", 1)[1].rsplit("/", 1)[0] for key in before if before[key] != after[key]}
    assert moved == {"a/one"}


def test_a_new_model_leaves_the_others_as_they_are() -> None:
    learner = fold(fresh(), [score(m, "code", 0.5, i) for i in range(100) for m in FACTS])
    before = predictions(learner.posterior())
    learner.register({"d/new": ArmFacts(1.0, 2.0)})
    after = predictions(learner.posterior())
    assert all(after[key] == before[key] for key in before)
    assert "QUALITY/d/new/code" in after


def test_a_model_learns_on_after_its_facts_change() -> None:
    learner = fold(fresh(), [score("a/one", "code", 0.9, i) for i in range(30)])
    n = learner.posterior().scores(0)
    learner.register({**FACTS, "a/one": ArmFacts(0.02, 0.8)})
    np.testing.assert_array_equal(learner.posterior().scores(0), n)


def test_a_type_nobody_tried_is_expected_at_the_models_own_level() -> None:
    learner = fold(fresh(1e9), [score(m, "code", v, i) for i in range(200) for m, v in (("a/one", 0.9), ("b/two", 0.2))])
    mean, variance = learner.posterior().predict(Target.QUALITY, learner.posterior().task("never seen"), X)
    known, tight = learner.posterior().predict(Target.QUALITY, learner.posterior().task("code"), X)
    index = learner.posterior().model_index
    assert mean[index["a/one"]] > mean[index["c/three"]] > mean[index["b/two"]]
    assert (variance >= tight).all()
    assert abs(mean[index["a/one"]] - known[index["a/one"]]) < 0.3


def test_evidence_about_a_model_nobody_registered_is_folded() -> None:
    learner = fold(Learner(), [score("x/unknown", "code", 0.9), Call("y/unknown", True, 2)])
    posterior = learner.posterior()
    assert set(posterior.models) == {"x/unknown", "y/unknown"}
    assert posterior.failure_rate[posterior.model_index["y/unknown"]] > posterior.failure_rate[posterior.model_index["x/unknown"]]


def test_failures_touch_reliability_and_nothing_else() -> None:
    learner = fold(fresh(), [score("a/one", "code", 0.9)])
    before = predictions(learner.posterior())
    fold(learner, [Call("a/one", True, 2) for _ in range(50)])
    posterior = learner.posterior()
    assert predictions(posterior) == before
    assert posterior.failure_rate[posterior.model_index["a/one"]] == pytest.approx(50.5 / 100, abs=0.01)


def test_published_posteriors_do_not_change_afterwards() -> None:
    learner = fold(fresh(), [score(m, "code", 0.5, i) for i in range(40) for m in FACTS])
    held = learner.posterior()
    copies = [{f.name: np.array(getattr(t, f.name)) for f in fields(t)} for t in held.targets]
    counts = [held.labels.copy(), held.billed.copy(), held.failure_rate.copy()]
    fold(learner, [score(m, t, 1.0, 50 + i) for i in range(200) for m in ("a/one", "z/new") for t in ("code", "math")])
    fold(learner, [Call("a/one", True, 300)])
    learner.posterior()
    for target, copy in zip(held.targets, copies, strict=True):
        for name, values in copy.items():
            np.testing.assert_array_equal(getattr(target, name), values, err_msg=name)
    for values, copy in zip((held.labels, held.billed, held.failure_rate), counts, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_one_target_at_a_time_is_never_stale_for_the_next_reader() -> None:
    """Who asks for quality alone must not leave old tokens to who asks for everything."""
    items = [o for i in range(60) for m in FACTS for o in (score(m, "code", 0.5, i), score(m, "code", 6.0, i, Target.OUTPUT_TOKENS))]
    partly, wholly = fold(fresh(), items), fold(fresh(), items)
    partly.posterior()
    for learner in (partly, wholly):
        fold(learner, [score("a/one", "code", 9.0, 70, Target.OUTPUT_TOKENS)])
    partly.posterior(only=(Target.QUALITY,))
    same(partly.posterior(), wholly.posterior(), 0.0)


@pytest.mark.parametrize("target", list(Target))
def test_the_posterior_is_blind_to_where_the_sums_are_anchored(target: Target) -> None:
    """Crossing the anchor between two refits loses no evidence: the next score moves the estimate a little, not a lot."""
    half_life = 1_000.0
    learner = fresh(half_life)
    crossing = int(40 * half_life * min(p.half_life_share for p in PRIORS))
    rng = np.random.default_rng(1)
    means = []
    for clock in range(crossing - 900, crossing + 60):
        fold(learner, [score("a/one", "code", 2.0 + 0.1 * rng.normal(), clock, target)])
        posterior = learner.posterior()
        means.append(posterior.predict(target, posterior.task("code"), X)[0][posterior.model_index["a/one"]])
    assert learner.statistics.anchor > 0, "the test must cross the anchor"
    assert np.abs(np.diff(means[-200:])).max() < 0.05


def test_forgetting_returns_to_the_prior() -> None:
    """After many half-lives without evidence on a model it is as unknown as one never tried."""
    learner = fold(fresh(1_000.0), [score("a/one", "code", 0.0, i) for i in range(300)])
    fold(learner, [score("b/two", "code", 0.7, 60_000 + i) for i in range(300)])
    posterior = learner.posterior()
    mean, variance = posterior.predict(Target.QUALITY, posterior.task("code"), X)
    index = posterior.model_index
    assert variance[index["a/one"]] == pytest.approx(variance[index["c/three"]], rel=1e-6)
    centre = {m: learner.common(Target.QUALITY).beta * ABILITY[m] for m in ("a/one", "c/three")}
    assert mean[index["a/one"]] - centre["a/one"] == pytest.approx(mean[index["c/three"]] - centre["c/three"], abs=1e-6)
