"""What a caller asks to have routed: the task, its limits and what it values."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from router.domain.models import Capability, Modality

TASK_TYPES: tuple[str, ...] = (
    "code_generation", "code_review", "bug_detection", "refactoring",
    "math_reasoning", "symbolic_reasoning", "constraint_solving", "formal_verification",
    "documentation", "summarization", "creative_writing", "style_transfer",
    "literature_review", "data_extraction", "synthesis", "critical_analysis",
    "classification", "sentiment", "entity_extraction", "quick_qa",
    "multimodal",
)  # fmt: skip
"""The task types that ship. The vocabulary is open: any other name works from the pooled prior."""
NAME = "[A-Za-z0-9][A-Za-z0-9._:/@+-]*"
"""Pattern of what callers may name: task types, judges."""


def needed_modalities(task_type: str) -> frozenset[Modality]:
    """What a model must read to do a typical task of a type."""
    return frozenset({Modality.TEXT, Modality.IMAGE}) if task_type == "multimodal" else frozenset({Modality.TEXT})


class Speed(StrEnum):
    """How fast the whole answer must arrive."""

    ULTRA_FAST = "ultra_fast"
    FAST = "fast"
    BALANCED = "balanced"
    QUALITY = "quality"

    @property
    def limit_s(self) -> float:
        """Longest acceptable latency in seconds."""
        return {"ultra_fast": 0.5, "fast": 2.0, "balanced": 10.0, "quality": 30.0}[self.value]


@dataclass(frozen=True, slots=True)
class Constraints:
    """Hard limits: a model that breaks one is excluded with the reason."""

    max_cost_usd: float | None = None
    """USD per call."""
    max_latency_s: float | None = None
    min_quality: float | None = None
    """Expected quality in [0, 1]."""
    models: frozenset[str] | None = None
    """Only these model ids."""
    exclude: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """What a request values: utility = quality * q - cost * usd / cost_ref - latency * s / latency_ref."""

    quality: float = 1.0
    cost: float = 0.3
    latency: float = 0.1


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work to route."""

    task_type: str
    context_tokens: int
    expected_output_tokens: int | None = None
    max_output_tokens: int | None = None
    needs: frozenset[Capability] = frozenset()
    modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    speed: Speed | None = None
    constraints: Constraints = field(default_factory=Constraints)
    weights: Weights = field(default_factory=Weights)
    policy: str | None = None
    """Name of a registered policy; None = the service's default."""
    explore: bool = True
    """False: choose the model with the best expected utility."""
    allow_fallback: bool = True
    """False: raise NoEligibleModel instead of answering with the fallback model."""
    episode_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    type_confidence: float = 1.0
    """1.0 when the caller named the task type, else the classifier's confidence."""
    text: bytes | None = None
    """The projected text, see ``learning.projection``; None where texts are not read."""

    @property
    def limited(self) -> bool:
        """Whether what is expected of a model can exclude it."""
        limits = self.constraints
        stated = limits.max_cost_usd, limits.max_latency_s, limits.min_quality, self.speed
        return stated != (None, None, None, None)

    def costing_at_most(self, usd: float) -> "Task":
        """The same with a limit on the cost of the call: a lower one stays, and a model whose cost nobody knows keeps to none."""
        stated = self.constraints.max_cost_usd
        return replace(self, constraints=replace(self.constraints, max_cost_usd=usd if stated is None else min(usd, stated)))
