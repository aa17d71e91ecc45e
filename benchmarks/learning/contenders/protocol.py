"""What a peer is told before a pass, before a decision and after it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from router.domain.outcome_table import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Truth:
    """Means over the whole stream, for yardsticks only."""

    quality: FloatArray
    """(K, T) by model and task type, nan where never offered."""
    cost: FloatArray
    """(K, T) USD, likewise."""
    noise: FloatArray
    """(T,) variance of a score around its model's mean on the type."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Known before the pass."""

    models: tuple[str, ...]
    n_tasks: int
    n_features: int
    seed: int
    cost_weight: float
    c_ref: float
    """USD: mean cost of the dearest model."""
    budget_usd: float | None
    warm: tuple[FloatArray, FloatArray] | None = None
    """Features (p, d) and every model's quality (p, K) on a tenth of the prompts: for contenders with offline priors only."""
    truth: Truth | None = None
    """For contenders that are no rivals but yardsticks."""


@dataclass(frozen=True, slots=True)
class Case:
    """Known before a decision."""

    x: FloatArray
    """(d,) task type one-hot, log context tokens, 1."""
    task: int
    offered: IntArray
    """Positions of the models on offer."""
    guess: FloatArray
    """(K,) utility expected of each model from what is public: typical quality less the cost at list prices."""


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices of all models in force, USD per token; NaN where unknown."""

    input: FloatArray
    output: FloatArray
    offered: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    """(K,) whether the model is on offer in this stretch of the pass."""


@dataclass(frozen=True, slots=True)
class Score:
    """What is told of a call."""

    quality: float
    utility: float
    """Quality less the weighed cost."""


class Peer(Protocol):
    """One learner during one pass."""

    def enter(self, prices: Prices) -> None:
        """A new stretch begins: prices or the models on offer have changed."""

    def choose(self, case: Case) -> int:
        """Position of the model to call."""
        ...

    def paid(self, usd: float) -> None:
        """What the call cost."""

    def learn(self, case: Case, model: int, score: Score) -> None:
        """Its score, where it is told."""


class Plain:
    """A peer that needs neither prices nor bills."""

    def enter(self, prices: Prices) -> None:
        """Nothing to know."""

    def paid(self, usd: float) -> None:
        """Nothing to pace."""


def best_offered(value: FloatArray, case: Case) -> int:
    """The highest value on offer, the first of equals."""
    return int(case.offered[np.argmax(value[case.offered])])
