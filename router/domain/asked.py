"""What the log keeps of a task; ``recall.task_of`` reads it back."""

from typing import Any

from router.domain.routing_rules import RoutingRules
from router.domain.tasks import Task


def asked(task: Task, u: int, rules: RoutingRules) -> dict[str, Any]:
    """What the log keeps of the task: numbers and identifiers, enough to recompute the decision."""
    limits, weights = task.constraints, task.weights
    kept: dict[str, Any] = {
        "draw": u,
        "context_tokens": task.context_tokens,
        "expected_output_tokens": task.expected_output_tokens,
        "max_output_tokens": task.max_output_tokens,
        "needs": sorted(task.needs) or None,
        "modalities": sorted(task.modalities),
        "speed": task.speed,
        "max_cost_usd": limits.max_cost_usd,
        "max_latency_s": limits.max_latency_s,
        "min_quality": limits.min_quality,
        "models": None if limits.models is None else sorted(limits.models),
        "exclude": sorted(limits.exclude) or None,
        "providers": None if limits.providers is None else sorted(limits.providers),
        "weights": [weights.quality, weights.cost, weights.latency],
        "references": [rules.cost_reference_usd, rules.latency_reference_s],
        "explore": task.explore,
        "type_confidence": task.type_confidence,
    }
    return {name: value for name, value in kept.items() if value is not None}
