"""A test battery: cases per task type, the models that play them, and which pairs of both make sense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.domain.catalog import Catalog
from router.domain.models import Capability, Modality, Model
from router.domain.tasks import TASK_TYPES, needed_modalities

SPECIALTIES: Mapping[str, frozenset[str]] = {
    "code": frozenset({"code_generation", "code_review", "bug_detection", "refactoring"}),
    "math": frozenset({"math_reasoning", "symbolic_reasoning", "constraint_solving", "formal_verification"}),
    "vision": frozenset({"multimodal"}),
}
"""What a model that the catalogue tags as a specialist is for. A task type that does not ship suits every model."""


@dataclass(frozen=True, slots=True)
class Case:
    """One task with a known answer."""

    id: str
    """Unique in its task type."""
    prompt: str = field(repr=False)
    reference: str = field(repr=False)
    """A right answer, as a model might write it."""
    wrong: str | None = field(default=None, repr=False)
    """A wrong answer of the same kind: shows that the judges tell both apart, and what a scripted model says when it errs."""
    image: str | None = field(default=None, repr=False)
    """A data URL."""
    expect: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What judges go by, by the names of their fields: ``expected``, ``labels``, ``contains``, ``pattern``, ``tests``, ``uses``, ..."""


@dataclass(frozen=True, slots=True)
class JudgeUse:
    """A judge of a section's answers. Those with ``metric`` "quality" teach the router; the others are kept for reports."""

    judge: str
    metric: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """The cases of one task type."""

    task_type: str
    cases: tuple[Case, ...]
    judges: tuple[JudgeUse, ...]
    agents: int = 1
    """How many agents of an orchestration do such tasks; weighs the section in the battery's totals."""
    system: str | None = field(default=None, repr=False)
    max_output_tokens: int = 512
    expected_output_tokens: int | None = None
    """For the cost estimate; None: half of the most."""
    needs: frozenset[Capability] = frozenset()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What a model must read."""
        seen = {Modality.IMAGE} if any(case.image is not None for case in self.cases) else set()
        return needed_modalities(self.task_type) | seen


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How fast a provider may be called."""

    concurrency: int = 4
    per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Battery:
    """What a battery file says."""

    name: str
    title: str
    models: tuple[str, ...]
    sections: tuple[Section, ...]
    baseline: str
    """The model that the others are compared with."""
    repetitions: int = 1
    temperature: float | None = 0.0
    measure: str = "char-ngram"
    """How the answers of different models to one case are compared."""
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """By provider; ``default`` for the others."""
    digest: str = ""
    """Of the file and of every generated case: two runs of one digest asked the same."""

    def limit(self, provider: str) -> RateLimit:
        """How fast a provider may be called."""
        return self.limits.get(provider) or self.limits.get("default") or RateLimit()

    def section(self, task_type: str) -> Section:
        """The cases of one task type."""
        return next(section for section in self.sections if section.task_type == task_type)


@dataclass(frozen=True, slots=True)
class Pair:
    """A task type and a model; ``skipped``: why the model does not play it."""

    task_type: str
    model: str
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One call of a battery: a case, played by a model for the n-th time."""

    task_type: str
    case_id: str
    repetition: int
    model: str


def pairs(battery: Battery, catalog: Catalog, unavailable: Mapping[str, str]) -> tuple[Pair, ...]:
    """Every task type with every model, in the battery's order; ``unavailable``: models that cannot be called, with the remedy.

    Raises ``ModelNotFound``.
    """
    found = []
    for section in battery.sections:
        for model_id in battery.models:
            model = catalog.get(model_id)
            reason = misfit(model, section)
            if reason is None and model.retired:
                reason = "the model is retired"
            if reason is None and model_id in unavailable:
                reason = f"the provider cannot be called: {unavailable[model_id]}"
            found.append(Pair(section.task_type, model_id, reason))
    return tuple(found)


def misfit(model: Model, section: Section) -> str | None:
    """Why a model has no business with a section's tasks; None where it has."""
    if missing := sorted(section.modalities - model.modalities):
        return f"it does not read {' or '.join(missing)}"
    if lacking := sorted(section.needs - model.capabilities):
        return f"it does not offer {' or '.join(lacking)}"
    if (reason := specialist_elsewhere(model, section.task_type)) is not None:
        return reason
    longest = max(len(case.prompt) for case in section.cases) // 3 + section.max_output_tokens
    if longest > model.context_window:
        return f"its window of {model.context_window:,} tokens is too small"
    return None


def specialist_elsewhere(model: Model, task_type: str) -> str | None:
    """Whether a model is made for other task types than this one, and for which."""
    special = sorted(tag for tag in SPECIALTIES if tag in model.tags)
    if special and task_type in TASK_TYPES and not any(task_type in SPECIALTIES[tag] for tag in special):
        return f"a specialist of {' and '.join(special)}"
    return None


def units(battery: Battery, playing: Sequence[Pair]) -> list[Unit]:
    """Every call, case by case so that the answers of all models to one case come together."""
    by_task: dict[str, list[str]] = {}
    for pair in playing:
        if pair.skipped is None:
            by_task.setdefault(pair.task_type, []).append(pair.model)
    return [
        Unit(section.task_type, case.id, repetition, model)
        for repetition in range(battery.repetitions)
        for section in battery.sections
        for case in section.cases
        for model in by_task.get(section.task_type, ())
    ]
