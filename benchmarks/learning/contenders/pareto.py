"""ParetoBandit's own router over precomputed features, with its published settings."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.contenders.protocol import Case, Prices, Score, Setup
from router.domain.outcome_table import FloatArray


class ParetoBandit:
    """Routing, learning and budget pacing of ``BanditRouter``; its pacer sees every bill, whether a score is told or not.

    Parameters
    ----------
    alpha : float
        Exploration; .05 is its published cold-start setting, .01 the default of ``create``, which goes with priors.
    warm : bool
        Start from offline priors: every model's score on a tenth of the prompts, with the published effective count of 1,163.9.
    reward : str
        "quality" leaves cost to its own penalty on normalised log prices; "utility" feeds it the utility and switches the penalty off.
    """

    def __init__(
        self, setup: Setup, alpha: float = 0.05, warm: bool = False, reward: str = "quality", cost_penalty: float | None = None
    ) -> None:
        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        self.setup, self.alpha, self.warm, self.reward = setup, alpha, warm, reward
        costly = setup.cost_weight > 0 or setup.budget_usd is not None
        self.penalty = (0.3 if costly else 0.0) if cost_penalty is None else cost_penalty
        if reward == "utility":
            self.penalty = 0.0
        self.router: Any = None
        self.everything: dict[str, Any] = {}
        self.offered: list[str] = []

    def enter(self, prices: Prices) -> None:
        self.offered = []
        per_m = {m: self._price(prices, k) for k, m in enumerate(self.setup.models) if prices.offered[k]}
        if self.router is None:
            self._create(per_m)
            return
        self.router.registry = dict(self.everything)
        for model in [m for m in self.router.registry if m not in per_m]:
            del self.router.registry[model]
        for model, (input_price, output_price) in per_m.items():
            if model not in self.router.registry:
                self.router.register_model(model, input_cost_per_m=input_price, output_cost_per_m=output_price)
            else:
                self.router.update_model_pricing(model, input_cost_per_m=input_price, output_cost_per_m=output_price)
        self.everything = dict(self.router.registry)

    def _price(self, prices: Prices, k: int) -> tuple[float, float]:
        """USD per million tokens; models without a list price are taken at the mean of the others."""
        pair = []
        for column in (prices.input, prices.output):
            known = column[~np.isnan(column)]
            pair.append(1e6 * float(column[k] if not np.isnan(column[k]) else known.mean() if len(known) else 1e-6))
        return pair[0], pair[1]

    def _create(self, per_m: dict[str, tuple[float, float]]) -> None:
        from pareto_bandit import BanditRouter
        from pareto_bandit.budget_pacer import BudgetPacer
        from pareto_bandit.feature_service import FeatureService
        from pareto_bandit.types import RouterConfig

        setup = self.setup
        dearest = max((i + o) / 2 / 1000 for i, o in per_m.values())
        config = RouterConfig(
            market_cost_ceiling=max(RouterConfig.market_cost_ceiling, dearest),  # as its documentation asks
            reward_min=-setup.cost_weight if self.reward == "utility" else 0.0,
        )
        registry = {m: {"input_cost_per_m": i, "output_cost_per_m": o, "time_to_first_token_seconds": 1.0} for m, (i, o) in per_m.items()}
        parameters: dict[str, Any] = {
            "model_registry": registry,
            "feature_service": FeatureService.for_precomputed(dimension=setup.n_features),
            "alpha": self.alpha,
            "bandit_seed": setup.seed,
            "config": config,
            "cost_penalty": self.penalty,
            "budget_pacer": None if setup.budget_usd is None else BudgetPacer(setup.budget_usd),
        }
        if self.warm and setup.warm is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "priors.joblib"
                _write_priors(path, setup, *setup.warm)
                self.router = BanditRouter.create(priors=str(path), **parameters)
        else:
            self.router = BanditRouter.create(priors="none", **parameters)
        self.everything = dict(self.router.registry)

    def choose(self, case: Case) -> int:
        offered = [self.setup.models[k] for k in case.offered.tolist()]
        if offered != self.offered:
            self.offered, self.router.registry = offered, {m: self.everything[m] for m in offered}
        model, _ = self.router.route(case.x, input_tokens=1_000)
        return self.setup.models.index(model)

    def paid(self, usd: float) -> None:
        if self.router.budget_pacer is not None:
            self.router.budget_pacer.observe(usd)

    def learn(self, case: Case, model: int, score: Score) -> None:
        reward = score.utility if self.reward == "utility" else score.quality
        self.router.update(self.setup.models[model], case.x, reward, advance_time=False)


def _write_priors(path: Path, setup: Setup, features: FloatArray, quality: FloatArray) -> None:
    """Its prior file: the ridge sums A and b of every model."""
    import joblib

    a: dict[str, FloatArray] = {}
    b: dict[str, FloatArray] = {}
    for k, model in enumerate(setup.models):
        seen = ~np.isnan(quality[:, k])
        if seen.any():
            x = features[seen]
            a[model], b[model] = np.eye(features.shape[1]) + x.T @ x, x.T @ quality[seen, k]
    joblib.dump({"A": a, "b": b, "models": list(a), "pca_whitened": False}, path)
