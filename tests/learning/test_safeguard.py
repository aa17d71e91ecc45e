"""A model that is known to do stands in for those that nothing is known of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from learning.choice import Safeguard, safeguarded
from learning.errors import InvalidContext
from learning.policies import Beliefs

N = 5
means = st.lists(st.floats(-1, 1), min_size=N, max_size=N)
sds = st.lists(st.floats(0.01, 0.5), min_size=N, max_size=N)
shares = st.lists(st.floats(0.001, 1), min_size=N, max_size=N)


def shortfall(p: np.ndarray, about: Beliefs, safe: int, draws: int = 20_000) -> float:
    """By simulation, doubt counted threefold."""
    rng = np.random.default_rng(1)
    utility = about.mean + 3.0 * about.sd * norm.ppf(rng.random((draws, N)).clip(1e-9, 1 - 1e-9))
    return float((np.maximum(utility[:, [safe]] - utility, 0.0) * (np.arange(N) != safe)).mean(axis=0) @ p)


@given(means, sds, shares, st.integers(0, N - 1), st.floats(0, 0.2))
def test_the_expected_shortfall_stays_within_the_limit(mean, sd, share, safe, limit) -> None:
    about = Beliefs([f"m{i}" for i in range(N)], np.array(mean), np.array(sd), np.zeros(N))
    p = np.array(share) / sum(share)
    mixed = safeguarded(p, about, Safeguard(f"m{safe}", limit))
    assert mixed.sum() == pytest.approx(1.0)
    assert (mixed >= 0).all()
    assert (np.delete(mixed, safe) <= np.delete(p, safe) + 1e-12).all(), "only the safe model gains"
    assert shortfall(mixed, about, safe) <= limit + 0.05
    if mixed is not p:
        assert shortfall(mixed, about, safe) >= limit - 0.05, "no more is given to it than it takes"


def test_doubt_holds_back_and_evidence_lets_go() -> None:
    p = np.array([0.1, 0.9])
    doubted = Beliefs(["safe", "new"], np.array([0.7, 0.75]), np.array([0.02, 0.2]), np.zeros(2))
    assert safeguarded(p, doubted, Safeguard("safe", 0.01))[1] < 0.3
    proved = Beliefs(["safe", "new"], np.array([0.7, 0.75]), np.array([0.005, 0.005]), np.zeros(2))
    assert safeguarded(p, proved, Safeguard("safe", 0.01)) is p
    apart = Beliefs(["other", "new"], np.array([0.7, 0.75]), np.array([0.1, 0.1]), np.zeros(2))
    assert safeguarded(p, apart, Safeguard("safe", 0.0)) is p, "it is not eligible"


@pytest.mark.parametrize("limit", [-0.1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(limit) -> None:
    with pytest.raises(InvalidContext):
        Safeguard("safe", limit)
