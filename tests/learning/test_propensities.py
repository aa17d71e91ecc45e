"""The logged probability is the sampling law: against Monte Carlo, closed forms, and its own draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtr
from scipy.stats import chi2

from learning.errors import InvalidContext
from learning.propensities import SCALE, best_probabilities, draw, quantise, uniform_draw

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
DRAWS = 200_000


@st.composite
def gaussians(draw_, most: int = 12, sd_ratio: float = 9.0):
    """Means and deviations of 2 to ``most`` utilities; the deviations lie within a ratio that the module leaves alone."""
    n = draw_(st.integers(2, most))
    mean = draw_(hnp.arrays(float, n, elements=st.floats(-1.0, 1.0)))
    sd = draw_(hnp.arrays(float, n, elements=st.floats(0.05, 0.05 * sd_ratio)))
    return mean, sd


@settings(deadline=None, derandomize=True, max_examples=12)
@given(gaussians(), st.integers(0, 10**6))
def test_they_match_monte_carlo(law, seed: int) -> None:
    """Within 4.5 standard errors of 200,000 draws, for every model of every example."""
    mean, sd = law
    p = best_probabilities(mean, sd)
    draws = mean + sd * np.random.default_rng(seed).standard_normal((DRAWS, len(mean)))
    share = np.bincount(draws.argmax(axis=1), minlength=len(mean)) / DRAWS
    error = np.sqrt(np.maximum(p * (1 - p), 1e-9) / DRAWS)
    assert (np.abs(share - p) <= 4.5 * error + 2e-6).all()


@PROPERTY
@given(gaussians(most=2))
def test_two_models_have_a_closed_form(law) -> None:
    mean, sd = law
    expected = ndtr((mean[0] - mean[1]) / np.hypot(sd[0], sd[1]))
    assert best_probabilities(mean, sd)[0] == pytest.approx(expected, abs=1e-6)


@PROPERTY
@given(n=st.integers(1, 40), mean=st.floats(-5, 5), sd=st.floats(1e-6, 5))
def test_equal_models_are_equally_likely(n: int, mean: float, sd: float) -> None:
    np.testing.assert_allclose(best_probabilities(np.full(n, mean), np.full(n, sd)), 1 / n, rtol=1e-9)


@PROPERTY
@given(data=st.data(), law=gaussians(sd_ratio=100.0), shift=st.floats(-10, 10), scale=st.floats(0.01, 100))
def test_order_origin_and_unit_do_not_matter(data, law, shift: float, scale: float) -> None:
    mean, sd = law
    p = best_probabilities(mean, sd)
    order = np.array(data.draw(st.permutations(range(len(mean)))))
    np.testing.assert_allclose(best_probabilities(mean[order], sd[order]), p[order], atol=1e-9)
    np.testing.assert_allclose(best_probabilities(mean * scale + shift, sd * scale), p, atol=1e-6)


@PROPERTY
@given(law=gaussians(), lift=st.floats(0.0, 1.0), data=st.data())
def test_a_better_mean_is_never_chosen_less(law, lift: float, data) -> None:
    mean, sd = law
    k = data.draw(st.integers(0, len(mean) - 1))
    lifted = mean.copy()
    lifted[k] += lift
    assert best_probabilities(lifted, sd)[k] >= best_probabilities(mean, sd)[k] - 1e-6


@PROPERTY
@given(law=gaussians(most=40, sd_ratio=1e4))
def test_they_are_probabilities_for_any_spread(law) -> None:
    p = best_probabilities(*law)
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.isfinite(p).all()


def test_a_hundred_models_at_extremes() -> None:
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=100), np.full(100, 1e-6)
    assert best_probabilities(mean, sd)[mean.argmax()] == pytest.approx(1.0)
    assert best_probabilities(np.zeros(100), np.full(100, 1e3)) == pytest.approx(np.full(100, 0.01))


@pytest.mark.parametrize("bad", [([np.nan, 0.0], [1.0, 1.0]), ([0.0, 0.0], [1.0, 0.0]), ([0.0, 0.0], [1.0, np.inf])])
def test_what_is_no_gaussian_is_refused(bad) -> None:
    with pytest.raises(InvalidContext):
        best_probabilities(np.array(bad[0]), np.array(bad[1]))


@PROPERTY
@given(hnp.arrays(float, st.integers(1, 60), elements=st.floats(0.0, 1.0)).filter(lambda p: p.sum() > 1e-3))
def test_integer_weights_sum_to_the_scale_and_stay_within_one(raw: np.ndarray) -> None:
    p = raw / raw.sum()
    q = quantise(p)
    assert int(q.sum()) == SCALE
    assert (q >= 0).all()
    assert (np.abs(q - p * SCALE) < 1.0 + 1e-6).all()
    assert (q[p == 0] == 0).all(), "no weight where there is no probability"


@pytest.mark.parametrize("bad", [[0.5, 0.4], [1.2, -0.2], [np.nan, 1.0], [np.inf, 0.0]])
def test_what_is_no_probability_vector_is_refused(bad) -> None:
    with pytest.raises(InvalidContext):
        quantise(np.array(bad))


def test_every_draw_follows_the_weights_exactly() -> None:
    """All 2**24 numbers map to each model exactly as often as its weight says; checked at every boundary."""
    q = quantise(np.array([0.0, 0.3, 0.0, 0.2, 0.5, 0.0]))
    ends = np.cumsum(q)
    for k in np.flatnonzero(q):
        assert draw(q, int(ends[k] - q[k])) == k
        assert draw(q, int(ends[k] - 1)) == k


def test_frequencies_over_many_ids_match_the_weights() -> None:
    """Chi-square over 100,000 decision ids, p > 1e-4."""
    q = quantise(np.array([0.5, 0.25, 0.15, 0.06, 0.03, 0.01]))
    counts = np.bincount([draw(q, uniform_draw(b"salt", f"dec-{i}")) for i in range(100_000)], minlength=6)
    expected = q / SCALE * 100_000
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 5) > 1e-4


def test_the_draw_depends_on_id_and_salt_alone() -> None:
    assert uniform_draw(b"salt", "dec-1") == uniform_draw(b"salt", "dec-1")
    assert len({uniform_draw(s, d) for s in (b"a", b"b") for d in ("dec-1", "dec-2")}) == 4
    assert all(0 <= uniform_draw(b"", f"d{i}") < SCALE for i in range(1000))
