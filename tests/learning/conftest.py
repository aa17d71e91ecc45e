"""Random evidence, and sums read so that the order of arrival does not matter."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import strategies as st

from learning.features import encode
from learning.observations import Call, Observation
from learning.statistics import Statistics
from learning.targets import Target

features = st.builds(
    encode,
    st.integers(0, 300_000),
    expected_output_tokens=st.none() | st.integers(1, 10_000),
    non_text_input=st.booleans(),
    needs_tools=st.booleans(),
    needs_json=st.booleans(),
    type_confidence=st.floats(0.0, 1.0),
)
observation = st.builds(
    Observation,
    target=st.sampled_from(Target),
    model=st.sampled_from(["a/one", "b/two", "c/three"]),
    task_type=st.sampled_from(["code_generation", "summarization"]),
    features=features,
    value=st.floats(-3.0, 3.0),
    clock=st.integers(0, 5_000),
    weight=st.sampled_from([1.0, 0.5]),
)
call = st.builds(Call, model=st.sampled_from(["a/one", "b/two", "c/three"]), failed=st.booleans(), clock=st.integers(0, 5_000))
Evidence = list[Observation | Call]
HALF_LIFE = 700.0
"""Short enough that 5,000 records pass the point where the sums are re-anchored."""


class Logs:
    """Strategies and folds over them."""

    HALF_LIFE = HALF_LIFE

    any: st.SearchStrategy[Evidence] = st.lists(observation | call, min_size=1, max_size=25)
    observations: st.SearchStrategy[list[Observation]] = st.lists(observation, min_size=1, max_size=25)

    @staticmethod
    def fold(items: Sequence[Observation | Call], half_life: float = HALF_LIFE) -> Statistics:
        statistics = Statistics(half_life)
        for item in items:
            if isinstance(item, Call):
                statistics.add_call(item)
            else:
                statistics.add(item)
        return statistics

    @staticmethod
    def sums(statistics: Statistics, now: int | None = None) -> dict[str, np.ndarray]:
        """All sums as of ``now`` (the newest clock seen), by name and (model, task type)."""
        at = statistics.now if now is None else now
        late = at - statistics.now
        out: dict[str, np.ndarray] = {}
        for target in Target:
            half_life = statistics.half_life * half_life_share(target)
            factor = statistics.decay(target) * 2.0 ** (-late / half_life)
            for c in range(statistics.n_cells):
                key = f"{target.name}/{statistics.models[statistics.cell_model[c]]}/{statistics.task_types[statistics.cell_task[c]]}"
                flat = [factor * statistics.gram[target, c].ravel(), factor * statistics.moment[target, c]]
                out[key] = np.concatenate([*flat, [factor * statistics.square[target, c], statistics.labels[target, c]]])
        factor = statistics.decay(Target.QUALITY) * 2.0 ** (-late / statistics.half_life)
        for m, model in enumerate(statistics.models):
            out[f"calls/{model}"] = factor * np.array([statistics.calls[m], statistics.failures[m]])
        return out

    @staticmethod
    def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
        """Equal up to ``tolerance`` relative to the largest sum; a cell that one lacks counts as zeros."""
        for key in one.keys() | other.keys():
            size = len(one.get(key, other.get(key, ())))
            left, right = one.get(key, np.zeros(size)), other.get(key, np.zeros(size))
            scale = max(1.0, float(np.abs(left).max(initial=0.0)))
            np.testing.assert_allclose(left, right, rtol=0.0, atol=tolerance * scale, err_msg=key)


def half_life_share(target: Target) -> float:
    """Half-life of a target as a share of the quality's, measured rather than read from the priors."""
    probe = Statistics(1.0)
    probe.now = 1
    return float(-1.0 / np.log2(probe.decay(target)))


@pytest.fixture(scope="session")
def logs() -> type[Logs]:
    return Logs


@pytest.fixture(scope="session")
def dense() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Posterior of a Gaussian linear model by one dense solve: mean and covariance of the coefficients."""

    def solve(
        design: np.ndarray, y: np.ndarray, noise: np.ndarray, prior_mean: np.ndarray, prior_variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        precision = np.diag(1.0 / prior_variance) + design.T @ (design / noise[:, None])
        covariance = np.linalg.inv(precision)
        return covariance @ (prior_mean / prior_variance + design.T @ (y / noise)), covariance

    return solve
