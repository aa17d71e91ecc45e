"""``POST /v1/route/batch``: a model for every agent of an orchestration, jointly; the same document is a file for ``pointsman plan``."""

from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ROUTE, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.refusals import refuse
from router.api.schemas import Body, Line, ModelId, Provider, RouteRequest, Share, Usd
from router.api.services import services_of
from router.api.tasks import to_task
from router.domain import tasks
from router.domain.orchestration import Agents, Goal, JointLimits, Orchestration, Plan, RateLimit
from router.errors import ConfigurationInvalid

MAX_AGENTS = 10_000
Rate = Annotated[float, Field(gt=0, le=1e12)]


class AgentsIn(RouteRequest):
    """Agents with the same task: its fields are those of `/v1/route`."""

    name: Line | None = Field(default=None, description="The task type if left out.")
    count: Annotated[int, Field(ge=1, le=MAX_AGENTS)] = 1
    calls: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="That each agent makes.")

    @model_validator(mode="after")
    def _is_planned(self) -> Self:
        if drawn := self.model_fields_set & {"policy", "explore", "allow_fallback"}:
            raise refuse(min(drawn), "a plan assigns the models and draws none, so this has no effect", "leave it out")
        return self


class RateLimitIn(Body):
    """What a provider takes of us in a minute."""

    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = Field(default=None, description="Input and output together.")


class LimitsIn(Body):
    """What all agents together must keep to."""

    budget_usd: Usd | None = None
    min_quality: Share | None = Field(default=None, description="Of the expected quality, as the mean over all calls.")
    min_scores: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="A model with fewer scores on a task type is left out there: 1 plans on nothing that was only inferred."
    )
    duration_s: Annotated[float, Field(gt=0, le=31_536_000)] = Field(
        default=60.0, description="In which all calls are made: a rate limit allows that many of its minutes."
    )
    providers: Annotated[dict[Provider, RateLimitIn], Field(max_length=100)] = Field(default={})


class OrchestrationIn(Body):
    """A job for many agents."""

    name: Line = "orchestration"
    goal: Goal = Field(default=Goal.BALANCED, description="balanced: most utility. cheapest: at no lower quality than the baseline. best.")
    baseline: ModelId | None = Field(default=None, description="The one model to compare with; the best one for all if left out.")
    limits: LimitsIn = LimitsIn()
    agents: Annotated[list[AgentsIn], Field(min_length=1, max_length=1000)]
    dry_run: bool = Field(default=False, description="true: plan only. false: log a decision for every agent and return its id.")

    @model_validator(mode="after")
    def _of_a_size(self) -> Self:
        if sum(agents.count for agents in self.agents) > MAX_AGENTS:
            raise refuse("agents", f"more than {MAX_AGENTS:,} agents", "plan them in parts")
        return self


def to_orchestration(wanted: OrchestrationIn, default: tasks.Weights) -> Orchestration:
    """What the document describes; nothing of its text is kept."""
    limits = wanted.limits
    agents = [(one, to_task(one, default)) for one in wanted.agents]
    return Orchestration(
        name=wanted.name,
        agents=tuple(Agents(one.name or task.task_type, task, one.count, one.calls) for one, task in agents),
        goal=wanted.goal,
        limits=JointLimits(
            budget_usd=limits.budget_usd,
            min_quality=limits.min_quality,
            min_scores=limits.min_scores,
            duration_s=limits.duration_s,
            providers={name: RateLimit(rate.requests_per_minute, rate.tokens_per_minute) for name, rate in limits.providers.items()},
        ),
        baseline=wanted.baseline,
    )


async def route_batch(request: Request) -> Response:
    """Assign a model to every agent, jointly under one budget, a quality floor and rate limits, and compare with all agents on one model.

    The decisions are in the log before this answers, one for each agent, forced (a plan is solved, not drawn): report what the calls did
    to `/v1/outcomes` and what the answers were worth to `/v1/feedback`, as after `/v1/route`.
    """
    await allow(request, ROUTE)
    services = services_of(request)
    wanted = await read(request, OrchestrationIn)
    job = to_orchestration(wanted, services.default_weights)
    if services.planning is None:
        raise ConfigurationInvalid("this service makes no plans", field="planning", remedy="start it with 'pointsman serve'")
    plan = await services.planning.plan(job)
    decided = [] if wanted.dry_run else await services.planning.commit(job, plan)
    return answer(told(plan) | {"decisions": [{"decision_id": d.id, "agents": name, "model": d.model} for name, d in decided]})


def told(plan: Plan) -> dict[str, Any]:
    """A plan as the caller sees it."""
    return asdict(plan)
