"""The answer that names a model for every agent."""

from pydantic import Field

from router.api.views.estimates import Estimate
from router.api.views.view import View


class AssignedView(View):
    """Agents of one group on one model; the estimates are of one call."""

    group: int = Field(description="Position of the group in the request.")
    agents: str
    task_type: str
    model: str
    count: int
    calls: int = Field(description="Of all of them.")
    scores: int = Field(description="Of this model on this task type, so far; 0: its quality is inferred.")
    quality: Estimate
    cost_usd: Estimate
    latency_s: Estimate
    total_usd: float = Field(description="calls times cost_usd.mean")
    relaxed: list[str] = Field(description="Limits of the task that no model meets and that were given up.")


class PlanTotals(View):
    """What a whole assignment comes to, with 90 % intervals."""

    cost_usd: Estimate
    quality: Estimate = Field(description="Mean over the calls.")
    latency_s: Estimate = Field(description="Mean over the calls.")
    longest_s: float = Field(description="Expected of the slowest kind of call.")


class PlanComparison(View):
    """All agents on one model, beside the plan."""

    model: str
    totals: PlanTotals
    cost_saved_usd: float
    cost_ratio: float | None = Field(description="The plan's cost as a share of this one's.")
    quality_difference: Estimate = Field(description="The plan's minus this one's.")
    latency_difference_s: float
    breaks: list[str] = Field(description="Limits that it would break.")


class LimitUseView(View):
    """A joint limit and how much of it the plan uses."""

    name: str
    at_most: float
    used: float


class PlannedDecision(View):
    """The decision that was logged for one agent."""

    decision_id: str
    agents: str
    model: str


class PlanAnswer(View):
    """A model for every agent."""

    name: str
    goal: str
    agents: int
    calls: int
    assigned: list[AssignedView]
    totals: PlanTotals
    limits: list[LimitUseView]
    min_quality: float | None
    comparisons: list[PlanComparison] = Field(description="The baseline first.")
    not_comparable: dict[str, str]
    seq: int = Field(description="Log position of what was learned.")
    decisions: list[PlannedDecision] = Field(description="One per agent; none where dry_run is true.")
