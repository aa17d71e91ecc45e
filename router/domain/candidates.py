"""What decisions might have been taken by instead: another policy, fixed rules, other weights, prices or models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from learning.errors import LearningError
from learning.policies import POLICIES, make
from router.domain.catalog import Catalog
from router.domain.models import Price
from router.domain.tasks import Weights
from router.errors import ModelNotFound, TaskInvalid


@dataclass(frozen=True, slots=True)
class Candidate:
    """A difference from what is: whatever is left out stays as it was at each decision.

    At most one of ``policy``, ``model`` and ``rules`` says how models are drawn.
    """

    policy: str | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None
    """This one for everything; where it is not eligible, the best expected utility."""
    rules: Mapping[str, str] | None = None
    """The model of each task type; other types are drawn as they were."""
    weights: Weights | None = None
    """Of every request."""
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """USD per million input and output tokens, by model."""
    without: frozenset[str] = frozenset()
    """Models that are dropped."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Largest share of the traffic, by model."""

    def checked(self, catalog: Catalog) -> "Candidate":
        """The candidate itself.

        Raises ``TaskInvalid`` naming the field, ``ModelNotFound``.
        """
        if sum(part is not None for part in (self.policy, self.model, self.rules)) > 1:
            raise TaskInvalid("policy, model and rules exclude each other", field="policy", remedy="give one of them")
        if self == Candidate():
            remedy = "name a policy, a model, rules, weights, prices, or models to drop or cap"
            raise TaskInvalid("nothing differs from what is", field="policy", remedy=remedy)
        if self.policy is not None:
            if self.policy not in POLICIES:
                raise TaskInvalid("no policy has that name", field="policy", remedy=f"choose one of {', '.join(POLICIES)}")
            try:
                make(self.policy, **self.parameters)
            except LearningError as exc:
                raise TaskInvalid(str(exc), field="parameters", remedy="correct the policy's parameters") from exc
        elif self.parameters:
            raise TaskInvalid("parameters belong to a policy", field="parameters", remedy="name the policy")
        for name, models in (
            ("model", [self.model] if self.model else []),
            ("rules", (self.rules or {}).values()),
            ("prices", self.prices),
            ("without", self.without),
            ("caps", self.caps),
        ):
            for model in models:
                if model not in catalog:
                    remedy = "GET /v1/models lists the ids; they have the form provider/name"
                    raise ModelNotFound("no model has that id", field=name, remedy=remedy)
        for model, pair in self.prices.items():
            if not all(math.isfinite(usd) and usd >= 0 for usd in pair):
                raise TaskInvalid(f"the price of {model} is out of range", field="prices", remedy="give USD per million tokens, at least 0")
        for model, share in self.caps.items():
            if not 0 <= share < 1:
                raise TaskInvalid(f"the cap of {model} is out of range", field="caps", remedy="give a share of the traffic in [0, 1)")
        return self

    def changed(self, catalog: Catalog) -> Catalog:
        """The catalogue with the candidate's prices and without the models it drops."""
        changed = []
        for model in catalog:
            if model.id in self.prices:
                model = replace(model, price=Price(*self.prices[model.id]))
            if model.id in self.without:
                model = replace(model, retired=True)
            changed.append(model)
        return Catalog(changed)

    def policy_for(self, task_type: str) -> tuple[str, dict[str, float | str]] | None:
        """Name and parameters of what draws for a task type; None = what drew then."""
        if self.policy is not None:
            return self.policy, dict(self.parameters)
        model = self.model if self.rules is None else self.rules.get(task_type)
        return None if model is None else ("fixed", {"model": model})

    @property
    def told(self) -> str:
        """In words."""
        parts = []
        if self.policy is not None:
            given = ", ".join(f"{name} {value:g}" for name, value in sorted(self.parameters.items()))
            parts.append(f"policy {self.policy}" + f" ({given})" * bool(given))
        if self.model is not None:
            parts.append(f"{self.model} for everything")
        if self.rules is not None:
            parts.append(f"rules for {len(self.rules)} task types")
        if self.weights is not None:
            w = self.weights
            parts.append(f"weights quality {w.quality:g}, cost {w.cost:g}, latency {w.latency:g}")
        parts += [f"{model} at ${a:g} / ${b:g} per million tokens" for model, (a, b) in sorted(self.prices.items())]
        parts += [f"without {model}" for model in sorted(self.without)]
        parts += [f"{model} at most {share:.0%} of the traffic" for model, share in sorted(self.caps.items())]
        return "; ".join(parts)


def rules_of(document: Any) -> dict[str, str]:
    """The model of each task type from a rules document: as exported, or simply ``task type: model``.

    Raises ``TaskInvalid`` naming the entry.
    """
    rules = document.get("rules", document) if isinstance(document, Mapping) else document
    if isinstance(rules, Mapping):
        entries = [(name, entry) for name, entry in rules.items() if isinstance(entry, str | Mapping)]
    elif isinstance(rules, Sequence) and not isinstance(rules, str):
        entries = [(entry.get("task_type"), entry) for entry in rules if isinstance(entry, Mapping)]
    else:
        entries = []
    found: dict[str, str] = {}
    for name, entry in entries:
        chosen = entry if isinstance(entry, str) else _primary(entry)
        if isinstance(name, str) and isinstance(chosen, str):
            found[name] = chosen
    if not found:
        remedy = "give task types and their models, e.g. 'quick_qa: provider/model'"
        raise TaskInvalid("the document holds no rules", field="rules", remedy=remedy)
    return found


def _primary(entry: Mapping[str, Any]) -> object:
    chosen = next((entry[name] for name in ("primary", "recommended", "model") if name in entry), None)
    return chosen.get("model") if isinstance(chosen, Mapping) else chosen
