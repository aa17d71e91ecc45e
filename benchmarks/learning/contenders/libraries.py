"""Bandit libraries, each through its own interface.

``informed`` gives a library what Pointsman knows before the first score and the library can take: it learns the difference from the public
guess (typical quality less the cost at list prices), and the guess is added back when it compares models.
"""

from typing import Any

import numpy as np

from benchmarks.learning.contenders.protocol import Case, Plain, Score, Setup, best_offered
from router.domain.outcome_table import FloatArray


class VowpalWabbit(Plain):
    """cb_explore_adf: shared features, one line per model, their interactions (-q xa); cost = 1 - utility, as its ranges expect.

    With ``informed`` a model's line carries its public guess as a feature.
    """

    def __init__(self, setup: Setup, arguments: str, informed: bool = False) -> None:
        import vowpalwabbit

        self.rng, self.informed = np.random.default_rng([setup.seed, 14]), informed
        ranged = f" --cb_min_cost 0 --cb_max_cost {1.0 + setup.cost_weight:g}" if "regcb" in arguments and setup.cost_weight else ""
        self.vw = vowpalwabbit.Workspace(f"--quiet --cb_explore_adf -q xa --random_seed {setup.seed + 1} {arguments}{ranged}")
        self.probability = 1.0

    def _lines(self, case: Case) -> list[str]:
        x = " ".join(f"{i}:{v:.6g}" for i, v in enumerate(case.x.tolist()) if v)
        if self.informed:
            return [f"shared |x {x}", *(f"|a {k} |p guess:{case.guess[k]:.5g}" for k in case.offered.tolist())]
        return [f"shared |x {x}", *(f"|a {k}" for k in case.offered.tolist())]

    def choose(self, case: Case) -> int:
        pmf = np.asarray(self.vw.predict(self._lines(case)))
        at = min(int(np.searchsorted(np.cumsum(pmf), self.rng.random() * pmf.sum(), side="right")), len(pmf) - 1)
        self.probability = max(float(pmf[at]), 1e-6)
        return int(case.offered[at])

    def learn(self, case: Case, model: int, score: Score) -> None:
        lines = self._lines(case)
        at = 1 + int(np.flatnonzero(case.offered == model)[0])
        lines[at] = f"0:{1.0 - score.utility:.6g}:{self.probability:.6g} {lines[at]}"
        self.vw.learn(lines)


class MabWiser(Plain):
    """LinUCB or LinTS of MABWiser, one ridge regression per model."""

    def __init__(self, setup: Setup, policy: str, alpha: float = 1.0, informed: bool = False) -> None:
        from mabwiser.mab import MAB, LearningPolicy

        self.informed, arms = informed, list(range(len(setup.models)))
        self.mab = MAB(arms, getattr(LearningPolicy, policy)(alpha=alpha), seed=setup.seed)
        self.mab.fit([0], [0.0], np.zeros((1, setup.n_features)))  # it must be fitted once; a zero row says nothing

    def choose(self, case: Case) -> int:
        expected: Any = self.mab.predict_expectations(case.x[None])
        value = np.array([expected[k] for k in range(len(case.guess))], dtype=float)
        return best_offered(value + case.guess if self.informed else value, case)

    def learn(self, case: Case, model: int, score: Score) -> None:
        self.mab.partial_fit([model], [score.utility - case.guess[model] if self.informed else score.utility], case.x[None])


class ContextualBandits(Plain):
    """LinUCB or LinTS of contextualbandits; without its own intercept, which the features have."""

    def __init__(self, setup: Setup, policy: str, informed: bool = False, **parameters: Any) -> None:
        from contextualbandits import online

        self.informed = informed
        self.model = getattr(online, policy)(len(setup.models), fit_intercept=False, random_state=setup.seed + 1, **parameters)

    def choose(self, case: Case) -> int:
        value = np.asarray(self.model.decision_function(case.x[None]), dtype=float)[0]
        return best_offered(value + case.guess if self.informed else value, case)

    def learn(self, case: Case, model: int, score: Score) -> None:
        reward = score.utility - case.guess[model] if self.informed else score.utility
        self.model.partial_fit(case.x[None], np.array([model]), np.array([reward]))


class BayesianBandits(Plain):
    """Thompson sampling of bayesianbandits with one regressor per model."""

    def __init__(self, setup: Setup, regressor: str, informed: bool = False, **parameters: Any) -> None:
        import bayesianbandits as bb

        self.informed, self.rng = informed, np.random.default_rng([setup.seed, 15])
        build = {"normal": bb.NormalRegressor, "nig": bb.NormalInverseGammaRegressor, "eb": bb.EmpiricalBayesNormalRegressor}[regressor]
        self.guess: FloatArray = np.zeros(len(setup.models))
        self.arms = [bb.Arm(k, self._reward(k), learner=build(**parameters)) for k in range(len(setup.models))]
        self.agent = bb.ContextualAgent(self.arms, bb.ThompsonSampling(), random_seed=setup.seed)

    def _reward(self, k: int) -> Any:
        return (lambda samples: samples + self.guess[k]) if self.informed else None

    def choose(self, case: Case) -> int:
        self.guess = case.guess
        if len(case.offered) == len(self.arms):
            return int(self.agent.pull(case.x[None])[0])
        arms = [self.arms[k] for k in case.offered.tolist()]
        return int(self.agent.policy(arms, case.x[None], self.rng)[0].action_token)

    def learn(self, case: Case, model: int, score: Score) -> None:
        reward = score.utility - case.guess[model] if self.informed else score.utility
        self.agent.select_for_update(model).update(case.x[None], np.array([reward]))
