"""Which answers are judged: those whose score may change decisions, each with a known probability; on average the share."""

import math

import numpy as np
import pytest

from learning.choice import Estimates
from learning.policies import Beliefs
from router.domain.orchestration import Outlook
from router.domain.sampling import FLOOR, NOISE_VAR, Sampler, worth
from router.domain.tasks import Weights


def outlook(means: list[float], sds: list[float]) -> Outlook:
    n = len(means)
    names = tuple(f"m/{i}" for i in range(n))
    zero, var = np.zeros(n), np.array(sds) ** 2
    estimates = Estimates(np.array(means), var, var, zero, zero, zero, zero, zero, zero, zero, zero)
    return Outlook(names, estimates, Beliefs(names, np.array(means), np.array(sds), zero), (0.0,) * n, (0.0,) * n, (), (), 0)


def test_the_gain_of_two_equal_models_by_hand() -> None:
    # gap 0: moved * phi(0), moved = s^2 / sqrt(s^2 + noise) with s = 0.1
    moved = 0.01 / math.sqrt(0.01 + NOISE_VAR)
    assert worth(outlook([0.8, 0.8], [0.1, 0.1]), "m/0", Weights()) == pytest.approx(moved / math.sqrt(2 * math.pi))


def test_contested_and_uncertain_models_are_worth_more() -> None:
    close, far = outlook([0.8, 0.79], [0.05, 0.05]), outlook([0.8, 0.5], [0.05, 0.05])
    sure = outlook([0.8, 0.79], [0.005, 0.005])
    assert worth(close, "m/1", Weights()) > 50 * worth(far, "m/1", Weights())
    assert worth(close, "m/1", Weights()) > 5 * worth(sure, "m/1", Weights())


def test_there_is_nothing_to_learn_where_there_is_nothing_to_choose() -> None:
    assert worth(outlook([0.8], [0.1]), "m/0", Weights()) == 0.0
    assert worth(outlook([0.8, 0.7], [0.1, 0.1]), "m/9", Weights()) == 0.0
    assert worth(outlook([0.8, 0.7], [0.1, 0.1]), "m/0", Weights(quality=0.0)) == 0.0


def test_the_mean_probability_is_the_share_and_none_is_zero() -> None:
    rng = np.random.default_rng(5)
    sampler = Sampler(0.05)
    values = rng.choice([0.0, 0.001, 0.004, 0.02], size=20_000, p=[0.4, 0.3, 0.2, 0.1])
    probabilities = np.array([sampler.probability(float(value)) for value in values])
    assert probabilities[200:].mean() == pytest.approx(0.05, rel=0.1)
    assert probabilities.min() >= FLOOR * 0.05
    assert probabilities.max() <= 1.0
    assert probabilities[values == 0.02][20:].mean() > 10 * probabilities[values == 0.0][20:].mean()


def test_an_unknown_worth_gets_the_share() -> None:
    assert Sampler(0.2).probability(None) == 0.2


def test_weighting_by_the_probability_gives_the_mean_of_all() -> None:
    rng = np.random.default_rng(7)
    sampler = Sampler(0.1)
    kinds = {0.001: 0.9, 0.02: 0.4}  # contested models are worse: an unweighted mean of the judged would be too low
    worths = rng.choice(list(kinds), size=40_000, p=[0.8, 0.2])
    drawn = [(p, kinds[float(v)]) for v in worths for p in [sampler.probability(float(v))] if rng.random() < p]
    truth = 0.8 * 0.9 + 0.2 * 0.4
    weighted = sum(q / p for p, q in drawn) / sum(1 / p for p, _ in drawn)
    assert weighted == pytest.approx(truth, abs=0.015)
    assert abs(sum(q for _, q in drawn) / len(drawn) - truth) > 0.1
