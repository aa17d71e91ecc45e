"""Estimators against values that are known, and the refusal to guess."""

import math
from dataclasses import replace

import numpy as np
import pytest

from learning.errors import InvalidContext
from learning.evaluation.diagnostics import LEAST_EFFECTIVE, effective_size, observation_probability, support
from learning.evaluation.estimators import Sample, designed_variance, direct, doubly_robust, inverse_propensity, self_normalised
from learning.evaluation.intervals import always_valid, asymptotic, radius, sequence

ARMS = np.array([0.3, 0.5, 0.8])
LOGGED, TARGET = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
TRUTH = float(TARGET @ ARMS)


def drawn(rng: np.random.Generator, n: int, fitted: np.ndarray = ARMS, seen: float = 1.0, target: np.ndarray = TARGET) -> Sample:
    """A log of n draws from ``LOGGED``, whose outcomes are 0 or 1 and seen with a probability."""
    arm = rng.choice(3, n, p=LOGGED)
    value = np.where(rng.random(n) < seen, (rng.random(n) < ARMS[arm]).astype(float), np.nan)
    square = np.full(n, float((target**2 / LOGGED).sum()))
    return Sample((target / LOGGED)[arm], value, np.full(n, seen), fitted[arm], np.full(n, float(target @ fitted)), square)


def test_the_logging_policys_own_value_is_the_mean_outcome():
    own = drawn(np.random.default_rng(0), 400, target=LOGGED)
    for terms in (inverse_propensity, self_normalised):
        assert terms(own).mean() == pytest.approx(own.value.mean(), abs=1e-12)
    assert support(own, np.zeros(400)).effective == pytest.approx(400)


@pytest.mark.parametrize("seen", [1.0, 0.4])
@pytest.mark.parametrize("terms", [doubly_robust, inverse_propensity])
def test_unbiased_where_the_probabilities_are_right_and_the_expectations_are_garbage(terms, seen):
    rng = np.random.default_rng(1)
    means = [terms(drawn(rng, 200, fitted=np.array([0.9, 0.1, 0.2]), seen=seen)).mean() for _ in range(500)]
    assert np.mean(means) == pytest.approx(TRUTH, abs=4 * np.std(means) / math.sqrt(500))


def test_clipping_is_biased_and_the_direct_estimate_is_as_wrong_as_its_model():
    log = drawn(np.random.default_rng(2), 50_000, fitted=np.array([0.5, 0.5, 0.2]))
    assert doubly_robust(log).mean() == pytest.approx(TRUTH, abs=0.02)
    assert doubly_robust(log, cap=1.5).mean() < TRUTH - 0.1
    assert direct(log).mean() == pytest.approx(0.32)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = {"once": 0, "always": 0}
    for _ in range(400):
        log = drawn(rng, 400, seen=0.5)
        terms = doubly_robust(log)
        once = asymptotic(terms, around=log.expected, least=designed_variance(log), effective=support(log, np.zeros(400)).effective)
        _, low, high = sequence(terms)
        held["once"] += once.low <= TRUTH <= once.high
        held["always"] += bool(((low <= TRUTH) & (high >= TRUTH))[50:].all())
    assert 0.92 <= held["once"] / 400 <= 0.985  # three standard errors around 95 %
    assert held["always"] / 400 >= 0.95


def test_an_interval_at_any_time_is_the_end_of_its_sequence():
    terms = np.random.default_rng(4).normal(0.4, 1.0, 300)
    end = always_valid(terms)
    assert [v[-1] for v in sequence(terms)] == pytest.approx([end.mean, end.low, end.high])
    assert (np.diff(radius(np.arange(1, 5_000))) < 0).all()


def test_episodes_that_belong_together_widen_the_interval():
    rng = np.random.default_rng(5)
    shared = np.repeat(rng.normal(size=100), 10)
    terms, episode = shared + 0.1 * rng.normal(size=1000), np.repeat(np.arange(100), 10)
    alone, together = asymptotic(terms), asymptotic(terms, cluster=episode)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_nothing_is_claimed_without_support():
    rng = np.random.default_rng(6)
    thin = drawn(rng, 60)
    told = support(thin, np.zeros(60))
    assert not told.enough
    assert told.effective < LEAST_EFFECTIVE
    assert "30 are needed" in told.doubts[0]
    enough = drawn(rng, 2_000)
    assert support(enough, np.zeros(2_000)).enough
    beyond = support(replace(enough, weight=enough.weight * 0.9), np.full(2_000, 0.1))
    assert "could never have been drawn" in beyond.doubts[0]
    wrong = support(replace(enough, weight=enough.weight * 1.5), np.zeros(2_000))
    assert "do not fit" in wrong.doubts[-1]


def test_rare_draws_that_did_not_happen_count_against_the_support():
    """The log holds no draw of the third arm: what was drawn looks harmless, what could have been drawn does not."""
    n = 500
    square = np.full(n, 0.5**2 / 0.999 + 0.5**2 / 0.001)
    lucky = Sample(np.full(n, 0.5 / 0.999), np.ones(n), np.ones(n), np.ones(n), np.ones(n), square)
    assert effective_size(lucky.load) == pytest.approx(n)
    assert not support(lucky, np.zeros(n)).enough


def test_the_probability_of_being_observed_is_per_group_and_shrunk():
    group = np.array([0] * 1000 + [1] * 4)
    seen = np.concatenate([np.arange(1000) < 500, np.ones(4)]).astype(float)
    told = observation_probability(seen, group)
    assert told[0] == pytest.approx(0.5, abs=0.01)
    assert 0.5 < told[-1] < 0.7


def test_what_cannot_be_a_sample_is_refused():
    with pytest.raises(InvalidContext, match="finite"):
        Sample(np.array([np.inf]), np.ones(1), np.ones(1), np.ones(1), np.ones(1), np.ones(1))
    with pytest.raises(InvalidContext, match="observation"):
        Sample(np.ones(1), np.ones(1), np.zeros(1), np.ones(1), np.ones(1), np.ones(1))
    with pytest.raises(InvalidContext, match="two terms"):
        asymptotic(np.ones(1))
