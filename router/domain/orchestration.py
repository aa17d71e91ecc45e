"""Many agents that work on one job: what is asked of a plan, what is known for it, and what a plan says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from learning.choice import Estimates
from learning.policies import Beliefs
from router.domain.decisions import Estimate, Exclusion
from router.domain.tasks import Task


class Goal(StrEnum):
    """What a plan is best at, within its limits."""

    BALANCED = "balanced"
    """The highest sum of utilities under the tasks' own weights."""
    CHEAPEST = "cheapest"
    """The lowest cost at no lower expected quality than the limit or else the baseline's."""
    BEST = "best"
    """The highest expected quality."""


@dataclass(frozen=True, slots=True)
class Agents:
    """Agents with the same task."""

    name: str
    task: Task
    count: int = 1
    calls: int = 1
    """That each makes."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a provider takes."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Input and output together."""


@dataclass(frozen=True, slots=True)
class JointLimits:
    """What all agents together must keep to."""

    budget_usd: float | None = None
    min_quality: float | None = None
    """Of the mean over all calls, in [0, 1]."""
    min_scores: int = 0
    """Of a model on a task type: with fewer it is left out there, so that nothing is planned on what was inferred."""
    duration_s: float = 60.0
    """In which all calls are made: a rate limit allows that many of its minutes."""
    providers: Mapping[str, RateLimit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Orchestration:
    """A job to plan."""

    agents: tuple[Agents, ...]
    name: str = "orchestration"
    goal: Goal = Goal.BALANCED
    limits: JointLimits = field(default_factory=JointLimits)
    baseline: str | None = None
    """The model that all agents would use otherwise; None: the one with the highest sum of utilities."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The models that may do a task, and what is expected of each; arrays of shape (n_models,) in their order."""

    models: tuple[str, ...]
    estimates: Estimates
    about: Beliefs
    """Utilities under the task's weights."""
    output_tokens: tuple[float, ...]
    scores: tuple[float, ...]
    """Of each model on the task type, so far."""
    excluded: tuple[Exclusion, ...]
    relaxed: tuple[str, ...]
    """Limits of the task that no model meets and that were given up."""
    seq: int
    """Log position of what was learned."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Agents of one group on one model; the estimates are of one call."""

    group: int
    """Position of the group among those that were asked for."""
    agents: str
    task_type: str
    model: str
    count: int
    calls: int
    """Of all of them."""
    scores: int
    """Of this model on this task type, so far; 0: its quality is inferred from other tasks, its peers and what is published."""
    quality: Estimate
    cost_usd: Estimate
    latency_s: Estimate
    total_usd: float
    relaxed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """What a whole assignment comes to, with 90 % intervals.

    The estimation errors of one model's figures are taken to move together, those of different models to be independent. The cost's
    interval holds the spread of single calls too, the others' are of the expectation.
    """

    cost_usd: Estimate
    quality: Estimate
    """Mean over the calls."""
    latency_s: Estimate
    """Mean over the calls."""
    longest_s: float
    """Expected of the slowest kind of call."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All agents on one model, beside the plan."""

    model: str
    totals: Totals
    cost_saved_usd: float
    cost_ratio: float | None
    """The plan's cost as a share of this one's; None where this one is free."""
    quality_difference: Estimate
    """The plan's minus this one's."""
    latency_difference_s: float
    breaks: tuple[str, ...]
    """Limits that it would break."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A joint limit and how much of it the plan uses."""

    name: str
    at_most: float
    used: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A model for every agent."""

    name: str
    goal: Goal
    agents: int
    calls: int
    assigned: tuple[Assigned, ...]
    totals: Totals
    limits: tuple[LimitUse, ...]
    min_quality: float | None
    """The floor that held for the mean quality, the baseline's where the goal is cheapest and no other was given."""
    comparisons: tuple[Comparison, ...]
    """The baseline first."""
    not_comparable: Mapping[str, str]
    """Models named as baseline that cannot do every task: why."""
    seq: int
    """Log position of what was learned."""
