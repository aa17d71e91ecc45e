"""Joint assignment: the solver finds the best, keeps to every limit, and names the limits that cannot be met."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.arrays import FloatArray
from learning.choice import Estimates
from learning.policies import Beliefs
from router.domain.assignment import Conflict, Limit, Problem, solve
from router.domain.orchestration import Agents, Goal, JointLimits, Orchestration, Outlook, Plan, RateLimit
from router.domain.planning import plan
from router.domain.tasks import Task
from router.errors import ModelNotFound, NoEligibleModel, PlanInfeasible

MODELS = ("cheap/small", "dear/large", "mid/medium")
COST = {"cheap/small": 0.001, "dear/large": 0.02, "mid/medium": 0.004}


def outlook(quality: dict[str, float], *, cost: dict[str, float] | None = None, cost_weight: float = 10.0, sd: float = 0.02) -> Outlook:
    models = tuple(sorted(quality))
    q = np.array([quality[m] for m in models])
    c = np.array([(cost or COST)[m] for m in models])
    same = np.ones(len(models))
    n = len(models)
    estimates = Estimates(
        quality=q, quality_var=sd**2 * same, quality_interval_var=2 * sd**2 * same, failure=0 * same, cost=c, cost_var=(0.1 * c) ** 2,
        cost_p95=1.5 * c, latency=2.0 * same, latency_var=0.04 * same, latency_p95=3.0 * same, eager=0 * same,
    )  # fmt: skip
    return Outlook(models, estimates, Beliefs(models, q - cost_weight * c, sd * same, 0 * same), (100.0,) * n, (12.0,) * n, (), (), 7)


EASY = outlook({"cheap/small": 0.90, "mid/medium": 0.91, "dear/large": 0.92})
HARD = outlook({"cheap/small": 0.30, "mid/medium": 0.70, "dear/large": 0.90})


def job(goal: Goal = Goal.BALANCED, baseline: str | None = None, **limits: object) -> Orchestration:
    groups = (Agents("easy", Task("classification", 500), 10), Agents("hard", Task("math_reasoning", 500), 5, calls=2))
    return Orchestration(groups, goal=goal, baseline=baseline, limits=JointLimits(**limits))  # type: ignore[arg-type]


def made(wanted: Orchestration) -> Plan:
    return plan(wanted, [EASY, HARD], MODELS)


def chosen(found: Plan) -> dict[tuple[str, str], int]:
    return {(line.agents, line.model): line.count for line in found.assigned}


def test_each_goal_gets_what_it_names() -> None:
    assert chosen(made(job(Goal.BEST))) == {("easy", "dear/large"): 10, ("hard", "dear/large"): 5}
    assert chosen(made(job())) == {("easy", "cheap/small"): 10, ("hard", "dear/large"): 5}
    even = outlook({"cheap/small": 0.91, "mid/medium": 0.91, "dear/large": 0.92})
    cheapest = plan(job(Goal.CHEAPEST, baseline="mid/medium"), [even, HARD], MODELS)
    assert chosen(cheapest) == {("easy", "cheap/small"): 10, ("hard", "mid/medium"): 5}
    assert cheapest.min_quality == pytest.approx((10 * 0.91 + 10 * 0.70) / 20)
    assert cheapest.comparisons[0].cost_saved_usd == pytest.approx(10 * 0.003)


def test_the_arithmetic_adds_up() -> None:
    found = made(job(baseline="dear/large"))
    assert (found.agents, found.calls, found.seq) == (15, 20, 7)
    assert {line.scores for line in found.assigned} == {12}
    assert math.isclose(found.totals.cost_usd.mean, 10 * 0.001 + 10 * 0.02)
    assert math.isclose(sum(line.total_usd for line in found.assigned), found.totals.cost_usd.mean)
    assert math.isclose(found.totals.quality.mean, (10 * 0.90 + 10 * 0.90) / 20)
    first = found.comparisons[0]
    assert first.model == "dear/large"
    assert math.isclose(first.cost_saved_usd, 20 * 0.02 - 0.21)
    assert math.isclose(first.cost_ratio or 0, 0.21 / 0.4)
    assert math.isclose(first.quality_difference.mean, -0.01)
    # errors: only the ten easy calls differ, half of all; cheap and large move apart: sd 0.5 * 0.02 * sqrt(2)
    assert math.isclose(first.quality_difference.high - first.quality_difference.mean, 1.6448536 * 0.5 * 0.02 * math.sqrt(2), rel_tol=1e-6)


def test_a_budget_is_kept_and_spent_where_it_buys_most() -> None:
    found = made(job(Goal.BEST, budget_usd=0.16))
    assert found.totals.cost_usd.mean <= 0.16
    assert found.limits[0].used <= found.limits[0].at_most
    best = max(
        (0.90 * e0 + 0.91 * e1 + 0.92 * (10 - e0 - e1) + 2 * (0.3 * h0 + 0.7 * h1 + 0.9 * (5 - h0 - h1)))
        for e0, e1, h0, h1 in itertools.product(range(11), range(11), range(6), range(6))
        if e0 + e1 <= 10 and h0 + h1 <= 5
        and 0.001 * e0 + 0.004 * e1 + 0.02 * (10 - e0 - e1) + 2 * (0.001 * h0 + 0.004 * h1 + 0.02 * (5 - h0 - h1)) <= 0.16 + 1e-12
    )  # fmt: skip
    assert found.totals.quality.mean * 20 == pytest.approx(best, abs=0.002)


def test_rate_limits_hold_over_the_duration() -> None:
    limited = made(job(Goal.BEST, duration_s=30.0, providers={"dear": RateLimit(requests_per_minute=12)}))
    assert sum(line.calls for line in limited.assigned if line.model == "dear/large") <= 6
    tokens = made(job(Goal.BEST, providers={"dear": RateLimit(tokens_per_minute=3_000)}))
    assert sum(line.calls * 600 for line in tokens.assigned if line.model == "dear/large") <= 3_000


def test_a_limit_that_is_met_exactly_is_met() -> None:
    assert made(job(Goal.BEST, budget_usd=20 * 0.001)).totals.cost_usd.mean == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("limits", "message", "remedy"),
    [
        ({"budget_usd": 0.01}, "the budget of $0.01 cannot be met", "raise the budget to $0.02"),
        ({"min_quality": 0.95}, "the mean quality of 0.9500 cannot be met", "lower the mean quality to 0.9100"),
        ({"budget_usd": 0.05, "min_quality": 0.85}, "the budget of $0.05 and the mean quality of 0.8500 cannot be met together",
         "raise the budget to $0.146 or lower the mean quality to 0.8000 while the other holds"),
        ({"providers": {name: RateLimit(requests_per_minute=5) for name in ("cheap", "dear", "mid")}},
         "requests to cheap of 5 and requests to dear of 5 and requests to mid of 5 cannot be met together",
         "raise requests to cheap to 10"),
        ({"budget_usd": 1.0, "providers": {"mid": RateLimit(requests_per_minute=50)}, "min_quality": 0.93},
         "the mean quality of 0.9300 cannot be met", "lower the mean quality to 0.9100"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_named_with_what_could(limits: dict[str, object], message: str, remedy: str) -> None:
    with pytest.raises(PlanInfeasible) as refused:
        made(job(Goal.BEST, **limits))
    assert refused.value.message == message
    assert (refused.value.remedy or "").startswith(remedy)
    assert refused.value.field == "limits"


def test_a_floor_that_the_baseline_sets_is_called_so() -> None:
    with pytest.raises(PlanInfeasible) as refused:
        made(job(Goal.CHEAPEST, baseline="dear/large", providers={"dear": RateLimit(requests_per_minute=2)}))
    assert "(that of all agents on the baseline)" in refused.value.message
    assert "set min_quality to" in (refused.value.remedy or "")


def test_the_amount_that_the_error_names_is_enough() -> None:
    with pytest.raises(PlanInfeasible) as refused:
        made(job(Goal.BEST, budget_usd=0.05, min_quality=0.85))
    assert "$0.146" in (refused.value.remedy or "")
    assert made(job(Goal.BEST, budget_usd=0.146, min_quality=0.85)).totals.quality.mean >= 0.85 - 1e-9


def test_agents_that_nobody_may_serve_and_unknown_baselines_are_named() -> None:
    with pytest.raises(NoEligibleModel, match="the agents hard"):
        plan(job(), [EASY, outlook({})], MODELS)
    unpriced = outlook({"cheap/small": 0.9}, cost={"cheap/small": math.nan})
    with pytest.raises(NoEligibleModel, match="price_unknown leaves out 1"):
        plan(job(), [EASY, unpriced], MODELS)
    with pytest.raises(ModelNotFound):
        made(job(baseline="no/model"))


def test_what_was_only_inferred_can_be_left_out() -> None:
    inferred = replace(HARD, scores=(12.0, 0.0, 12.0))  # nobody scored the large one
    found = plan(job(Goal.BEST, min_scores=1), [EASY, inferred], MODELS)
    assert chosen(found) == {("easy", "dear/large"): 10, ("hard", "mid/medium"): 5}
    with pytest.raises(NoEligibleModel, match="min_scores leaves out 3"):
        made(job(min_scores=13))


def test_a_baseline_that_cannot_do_every_task_is_said() -> None:
    found = plan(job(baseline="cheap/small"), [EASY, outlook({"dear/large": 0.9})], MODELS)
    assert found.not_comparable == {"cheap/small": "it may not serve hard"}
    assert [comparison.model for comparison in found.comparisons] == ["dear/large"]


def test_the_cheapest_plan_needs_a_quality_to_keep_to() -> None:
    narrow = outlook({"dear/large": 0.9})
    with pytest.raises(PlanInfeasible, match="it may not serve hard") as refused:
        plan(job(Goal.CHEAPEST, baseline="cheap/small"), [EASY, narrow], MODELS)
    assert refused.value.field == "baseline"
    assert plan(job(Goal.CHEAPEST, baseline="cheap/small", min_quality=0.5), [EASY, narrow], MODELS).min_quality == 0.5


def test_limits_that_the_baseline_breaks_are_said() -> None:
    found = made(job(Goal.BEST, baseline="dear/large", budget_usd=0.3, providers={"dear": RateLimit(requests_per_minute=15)}))
    assert found.comparisons[0].breaks == ("the budget", "requests to dear")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_solver_agrees_with_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    value: FloatArray = rng.uniform(0, 1, (2, 3))
    cost: FloatArray = rng.uniform(0, 1, (2, 3))
    agents = np.array([3, 2])
    most = float(rng.uniform(0.2, 4.0))
    best = max(
        (
            float((value * x).sum())
            for rows in itertools.product(_splits(3), _splits(2))
            for x in [np.array(rows)]
            if float((cost * x).sum()) <= most
        ),
        default=None,
    )
    found = solve(Problem(agents, value, (Limit("cost", cost, most),)))
    if best is None:
        assert isinstance(found, Conflict)
        assert found.least["cost"] == pytest.approx(3 * cost[0].min() + 2 * cost[1].min())
    else:
        assert not isinstance(found, Conflict)
        assert found.sum(axis=1).tolist() == [3, 2]
        assert float((value * found).sum()) == pytest.approx(best, rel=1e-3)


def _splits(n: int) -> list[tuple[int, int, int]]:
    return [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
