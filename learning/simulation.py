"""A simulated world of models and task types with known truth, and one online pass through it.

Expected quality of model m on task type t is ``clip(level + a_m + b_t + c_mt)``; scores are Bernoulli or Beta with exactly that
expectation. Output tokens are log-normal, latency is a first-token time plus tokens over speed, cost is tokens at list prices: every
expectation has a closed form, so that regret is exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Offers, Preference, beliefs, choose, estimate
from learning.errors import UnknownModel
from learning.facts import ArmFacts
from learning.features import TYPICAL_CONTEXT_TOKENS, encode
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.policies import Policy
from learning.posterior import Posterior
from learning.targets import Target

_QUALITY_RANGE = (0.02, 0.98)
_TOKENS_SD = 0.5
"""Of the logarithm of one answer's output tokens."""
_LATENCY_SD = 0.3
_PRICE_LOG_SD = 1.5
_TYPICAL_PRICE = 1e-6
"""USD per input token."""
_OUTPUT_PRICE_RATIO = 3.0
_RECORDS_PER_STEP = 3
"""A decision, an outcome and a score advance the log by three."""


@dataclass(frozen=True, slots=True)
class Drift:
    """From step ``at`` on: a model's quality shifts on all task types, its price is multiplied."""

    at: int
    model: str
    quality: float = 0.0
    price: float = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one simulated call measured."""

    quality: float
    """Score in [0, 1]."""
    output_tokens: int
    latency_s: float
    cost_usd: float
    failed: bool


@dataclass(frozen=True, slots=True)
class World:
    """K models and T task types with known expectations.

    Attributes
    ----------
    base_quality : FloatArray
        (K, T) expected quality before any drift.
    log_tokens : FloatArray
        (K, T) mean of the logarithm of output tokens.
    first_token_s, tokens_per_s : FloatArray
        (K,) each.
    input_price, output_price : FloatArray
        (K,) USD per token before any drift.
    failure_rate : FloatArray
        (K,) probability that a call fails; a failed call has no score.
    concentration : float, optional
        Scores are Beta(c q, c (1 - q)); None for pass or fail.
    """

    models: tuple[str, ...]
    task_types: tuple[str, ...]
    base_quality: FloatArray
    log_tokens: FloatArray
    first_token_s: FloatArray
    tokens_per_s: FloatArray
    input_price: FloatArray
    output_price: FloatArray
    failure_rate: FloatArray
    concentration: float | None = None
    drifts: tuple[Drift, ...] = ()

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        n_models: int = 10,
        n_task_types: int = 5,
        *,
        level: float = 0.7,
        model_sd: float = 0.10,
        task_sd: float = 0.12,
        cell_sd: float = 0.06,
        price_correlation: float = 0.5,
        failure_rate: float = 0.0,
        concentration: float | None = None,
    ) -> "World":
        """Draw a world.

        Parameters
        ----------
        model_sd, task_sd, cell_sd : float
            Spread of the model effect, the task effect and their interaction.
        price_correlation : float
            Between a model's effect and its log price, in [-1, 1].
        concentration : float, optional
            See the class; 8 gives scores with a standard deviation of about 0.15.

        Examples
        --------
        >>> world = World.draw(np.random.default_rng(1), n_models=3, n_task_types=2)
        >>> world.quality().shape, world.regret(world.best("type-0"), "type-0")
        ((3, 2), 0.0)
        """
        K, T = n_models, n_task_types
        ability, ease, own = rng.normal(size=K), rng.normal(size=T), rng.normal(size=(K, T))
        dearness = price_correlation * ability + math.sqrt(1.0 - price_correlation**2) * rng.normal(size=K)
        price = _TYPICAL_PRICE * np.exp(_PRICE_LOG_SD * dearness)
        tokens = 5.7 + 0.4 * rng.normal(size=(K, 1)) + 0.6 * rng.normal(size=T) + 0.2 * rng.normal(size=(K, T))
        return cls(
            models=tuple(f"model-{k:02d}" for k in range(K)),
            task_types=tuple(f"type-{t}" for t in range(T)),
            base_quality=np.clip(level + model_sd * ability[:, None] + task_sd * ease + cell_sd * own, *_QUALITY_RANGE),
            log_tokens=tokens,
            first_token_s=np.exp(-1.0 + 0.5 * rng.normal(size=K)),
            tokens_per_s=np.exp(4.5 + 0.6 * rng.normal(size=K)),
            input_price=price,
            output_price=_OUTPUT_PRICE_RATIO * price,
            failure_rate=np.full(K, failure_rate),
            concentration=concentration,
        )

    def with_drift(self, *drifts: Drift) -> "World":
        """The same world with more events.

        Raises
        ------
        UnknownModel
            An event names a model that is not in the world.
        """
        for drift in drifts:
            self._model(drift.model)
        return replace(self, drifts=self.drifts + drifts)

    def _model(self, model: str) -> int:
        if model not in self.models:
            raise UnknownModel(f"the world has no model {model}; it has {self.models[0]} to {self.models[-1]}")
        return self.models.index(model)

    def quality(self, step: int = 0) -> FloatArray:
        """(K, T) expected quality at a step."""
        shift = np.zeros((len(self.models), 1))
        for drift in self.drifts:
            if step >= drift.at:
                shift[self._model(drift.model)] += drift.quality
        quality: FloatArray = np.clip(self.base_quality + shift, *_QUALITY_RANGE)
        return quality

    def prices(self, step: int = 0) -> tuple[FloatArray, FloatArray]:
        """(K,) input and (K,) output price at a step, USD per token."""
        factor = np.ones(len(self.models))
        for drift in self.drifts:
            if step >= drift.at:
                factor[self._model(drift.model)] *= drift.price
        return self.input_price * factor, self.output_price * factor

    def expected_tokens(self) -> FloatArray:
        """(K, T) expected output tokens."""
        tokens: FloatArray = np.exp(self.log_tokens + _TOKENS_SD**2 / 2)
        return tokens

    def expected_cost(self, step: int = 0, context_tokens: int = TYPICAL_CONTEXT_TOKENS) -> FloatArray:
        """(K, T) USD per call."""
        price_in, price_out = self.prices(step)
        cost: FloatArray = price_in[:, None] * context_tokens + price_out[:, None] * self.expected_tokens()
        return cost

    def expected_latency(self) -> FloatArray:
        """(K, T) seconds per call."""
        seconds: FloatArray = self.first_token_s[:, None] + self.expected_tokens() / self.tokens_per_s[:, None]
        return seconds

    def utility(self, preference: Preference | None = None, step: int = 0) -> FloatArray:
        """(K, T) expected utility; quality alone without a preference."""
        weights = preference or Preference()
        value: FloatArray = (
            weights.quality * self.quality(step) * (1.0 - self.failure_rate[:, None])
            - weights.cost_per_usd * self.expected_cost(step)
            - weights.latency_per_s * self.expected_latency()
        )
        return value

    def best(self, task_type: str, preference: Preference | None = None, step: int = 0) -> str:
        """The model with the highest expected utility on a task type."""
        return self.models[int(np.argmax(self.utility(preference, step)[:, self.task_types.index(task_type)]))]

    def regret(self, model: str, task_type: str, preference: Preference | None = None, step: int = 0) -> float:
        """Expected utility lost against the best model."""
        column = self.utility(preference, step)[:, self.task_types.index(task_type)]
        return float(column.max() - column[self._model(model)])

    def call(
        self, rng: np.random.Generator, model: str, task_type: str, step: int = 0, context_tokens: int = TYPICAL_CONTEXT_TOKENS
    ) -> Answer:
        """Call a model once."""
        k, t = self._model(model), self.task_types.index(task_type)
        q, c = float(self.quality(step)[k, t]), self.concentration
        score = float(rng.random() < q) if c is None else float(rng.beta(c * q, c * (1.0 - q)))
        tokens = max(1, round(math.exp(self.log_tokens[k, t] + _TOKENS_SD * rng.normal())))
        seconds = self.first_token_s[k] + tokens / self.tokens_per_s[k]
        price_in, price_out = self.prices(step)
        return Answer(
            quality=score,
            output_tokens=tokens,
            latency_s=float(seconds * math.exp(_LATENCY_SD * rng.normal() - _LATENCY_SD**2 / 2)),
            cost_usd=float(price_in[k] * context_tokens + price_out[k] * tokens),
            failed=bool(rng.random() < self.failure_rate[k]),
        )

    def facts(self, *, published: bool = True) -> dict[str, ArmFacts]:
        """What the catalogue says of every model: price and typical latency, or nothing."""
        if not published:
            return {model: ArmFacts() for model in self.models}
        typical = self.first_token_s + math.exp(5.7) / self.tokens_per_s
        price = (self.input_price + self.output_price) / 2 * 1e6
        return {m: ArmFacts(float(price[k]), float(typical[k])) for k, m in enumerate(self.models)}

    def offers(self, posterior: Posterior, step: int = 0) -> Offers:
        """All models at the prices of a step; each must be known to the posterior."""
        price_in, price_out = self.prices(step)
        index = np.array([posterior.model_index[m] for m in self.models], dtype=np.int64)
        return Offers(self.models, index, price_in, price_out)


def observations(
    answer: Answer, model: str, task_type: str, clock: int, features: FloatArray, *, scored: bool = True
) -> Sequence[Observation | Call]:
    """What the log would say about a call: its outcome, and a score where it was scored; a failed call has neither."""
    call = Call(model, answer.failed, clock)
    if answer.failed:
        return [call]
    values = {
        Target.OUTPUT_TOKENS: math.log(answer.output_tokens),
        Target.LATENCY: math.log(answer.latency_s),
        Target.COST: math.log(answer.cost_usd),
    }
    if scored:
        values[Target.QUALITY] = answer.quality
    return [call, *(Observation(target, model, task_type, features, value, clock) for target, value in values.items())]


@dataclass(frozen=True, slots=True)
class Pass:
    """One online pass of n steps: regret (n,), chosen model (n,), task type (n,) and the learner afterwards."""

    regret: FloatArray
    model: IntArray
    task: IntArray
    learner: Learner


def play(
    world: World,
    policy: Policy,
    steps: int,
    rng: np.random.Generator,
    *,
    preference: Preference | None = None,
    learner: Learner | None = None,
    feedback_rate: float = 1.0,
    targets: Sequence[Target] = tuple(Target),
) -> Pass:
    """Let a policy decide ``steps`` tasks of uniformly drawn types, learning from each at once.

    Parameters
    ----------
    feedback_rate : float
        Share of the calls that are scored.
    targets : sequence of Target
        What is folded; leaving targets out that the preference does not weigh saves time.
    """
    weights = preference or Preference()
    learner = learner or Learner()
    learner.register(world.facts())
    features = encode(TYPICAL_CONTEXT_TOKENS)
    utility = {at: world.utility(weights, at) for at in (0, *(d.at for d in world.drifts))}
    regret, model, task = np.zeros(steps), np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.int64)
    start = learner.seq
    for step in range(steps):
        t = int(rng.integers(len(world.task_types)))
        task_type = world.task_types[t]
        posterior = learner.posterior()
        offers = world.offers(posterior, step)
        expected = estimate(posterior, offers, task_type, features, TYPICAL_CONTEXT_TOKENS, latency=weights.latency_per_s > 0)
        choice = choose(policy, beliefs(offers, expected, weights), int(rng.integers(1 << 24)))
        answer = world.call(rng, world.models[choice.index], task_type, step)
        scored = bool(rng.random() < feedback_rate)
        clock = start + _RECORDS_PER_STEP * step + 1
        for item in observations(answer, world.models[choice.index], task_type, clock, features, scored=scored):
            if isinstance(item, Call):
                learner.fold_call(item)
            elif item.target in targets:
                learner.fold(item)
        learner.advance(clock + _RECORDS_PER_STEP - 1)
        column = utility[max(at for at in utility if at <= step)][:, t]
        regret[step], model[step], task[step] = column.max() - column[choice.index], choice.index, t
    return Pass(regret, model, task, learner)
