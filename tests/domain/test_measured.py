"""Averages with intervals that cover the truth as often as they say."""

import numpy as np
import pytest

from router.domain.measured import of_scores, of_values


def test_nothing_was_measured():
    assert of_scores(0.0, 0.0, 0) is None
    assert of_values([]) is None


def test_all_right_or_all_wrong_reaches_the_end_of_the_scale():
    right, wrong = of_scores(20.0, 20.0, 20), of_scores(0.0, 20.0, 20)
    assert right is not None
    assert wrong is not None
    assert (right.mean, right.high) == (1.0, 1.0)
    assert right.low == pytest.approx(1.0 - wrong.high)
    assert 0.82 < right.low < 0.95


def test_one_value_has_no_spread():
    one = of_values([3.0])
    assert one is not None
    assert (one.n, one.mean, one.low, one.high) == (1, 3.0, 3.0, 3.0)


@pytest.mark.parametrize("truth", [0.1, 0.5, 0.85])
def test_intervals_of_scores_cover_the_truth_at_least_nine_times_in_ten(truth):
    rng = np.random.default_rng(5)
    found = [of_scores(float(right), 20.0, 20) for right in rng.binomial(20, truth, 2_000)]
    covered = np.mean([m is not None and m.low <= truth <= m.high for m in found])
    assert 0.89 <= covered <= 0.98


def test_intervals_of_values_cover_the_truth_about_nine_times_in_ten():
    rng = np.random.default_rng(6)
    found = [of_values(values) for values in rng.normal(2.0, 3.0, (2_000, 8)).tolist()]
    covered = np.mean([m is not None and m.low <= 2.0 <= m.high for m in found])
    assert 0.88 <= covered <= 0.92
