"""A log made by the service's own decision and learning code against answers that are known: for tests, benchmarks and notebooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from learning.choice import Restraint
from learning.learner import Learner
from learning.propensities import uniform_draw
from router.domain.catalog import Catalog
from router.domain.decisions import Decision
from router.domain.events import CostSource, Feedback, Outcome, Regime, Status, Write
from router.domain.evidence import fold
from router.domain.models import Model
from router.domain.tasks import Task
from router.ports import Store
from router.recomputing import decide_again
from router.storage.memory import MemoryStore

JUDGE = "human"
_START = 1_760_000_000.0
_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought; None where nobody says."""

    quality: float | None
    cost_usd: float | None = None
    latency_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    failed: bool = False


@dataclass
class Rehearsal:
    """Decides, reveals the chosen model's answer, logs both and learns, one task after another."""

    models: Sequence[Model]
    policy: dict[str, Any] = field(default_factory=dict)
    """Settings that differ from ``SETTINGS``."""
    store: Store = field(default_factory=MemoryStore)
    seed: int = 0
    count: int = 0
    money: Callable[[], float] = lambda: 0.0
    """Utility that a budget makes a dollar cost."""
    allowed: Restraint | None = None
    """What is left of a day's allowance for exploring, at every decision."""

    def __post_init__(self) -> None:
        settings = SETTINGS | self.policy
        self._learner = Learner(settings["half_life_records"], trusted=settings["trusted_judges"])
        self._salt = f"rehearsal {self.seed}".encode()
        self.enter(self.models)

    def enter(self, models: Sequence[Model], **policy: Any) -> None:
        """Go on with this catalogue and these settings."""
        self.models, self.policy = models, self.policy | policy
        catalog = Catalog(models)
        regime = Regime(catalog.version, "rehearsal", SETTINGS | self.policy, catalog.models, self._clock())
        deciding = decide_again(
            regime,
            {},
            self._learner.posterior,
            clock=self._clock,
            name=self._name,
            draw=self._draw,
            money=self.money,
            allowed=self.allowed,
        )
        if deciding is None:
            raise AssertionError("the rehearsal's settings are not those of this release: bring SETTINGS up to date")
        self._deciding = deciding
        regime = Regime(catalog.version, deciding.policy_version, regime.policy, regime.models, regime.at)
        self._commit([regime])

    def step(self, task: Task, answer: Callable[[str], Answer]) -> Decision:
        """One task; ``answer`` tells what a model makes of it."""
        self.count += 1
        decision = self._deciding.decide(task)
        told = answer(decision.model)
        ended = Outcome(
            decision.id, Status.ERROR if told.failed else Status.OK, decision.at + 1.0, None, told.latency_s, None, told.input_tokens,
            told.output_tokens, told.cost_usd, None if told.cost_usd is None else CostSource.REPORTED,
        )  # fmt: skip
        writes: list[Write] = [decision, ended]
        if told.quality is not None:
            writes.append(Feedback(f"fb_{self.count}", decision.id, JUDGE, "quality", told.quality, decision.at + 2.0))
        self._commit(writes)
        return decision

    def _commit(self, writes: Sequence[Write]) -> None:
        for result in self.store.commit(writes):
            if isinstance(result, Exception):
                raise result
        events, upto = self.store.read_evidence(self._learner.seq, len(writes) + 1)
        for event in events:
            fold(self._learner, event)
        self._learner.advance(upto)

    def _clock(self) -> float:
        return _START + _EVERY_S * self.count

    def _name(self, prefix: str) -> str:
        return f"{prefix}_{self.seed:06x}{self.count:026x}"

    def _draw(self, decision_id: str) -> int:
        return uniform_draw(self._salt, decision_id)


SETTINGS: dict[str, Any] = {
    "policy": "thompson",
    "policy_parameters": {},
    "cost_reference_usd": 0.01,
    "latency_reference_s": 10.0,
    "fallback_model": None,
    "holdback_share": 0.0,
    "baseline_model": None,
    "half_life_records": 24_000.0,
    "exploration_quality": None,
    "exploration_usd": None,
    "safe_model": None,
    "safe_shortfall": 0.01,
    "trusted_judges": (),
}
"""Those of a service whose operator has set nothing."""
