"""Plans an orchestration: one model for every agent, jointly under a budget, a quality floor and the providers' rate limits."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Z90
from learning.quality import bounded, shown
from router.domain.assignment import Conflict, Limit, Problem, solve
from router.domain.decisions import Estimate
from router.domain.eligibility import usd
from router.domain.orchestration import Agents, Assigned, Comparison, Goal, LimitUse, Orchestration, Outlook, Plan, Totals
from router.errors import ModelNotFound, NoEligibleModel, PlanInfeasible

_TIE = 1e-6
"""Share of the goal that what it does not name still counts, so that ties are decided by it."""
_QUALITY, _BUDGET = "the mean quality", "the budget"


@dataclass(frozen=True, slots=True)
class _Table:
    """Everything about G groups and M models: (G, M) per call, NaN where the model may not do the task; (G,) per group."""

    groups: tuple[Agents, ...]
    models: tuple[str, ...]
    agents: IntArray
    calls: IntArray
    """Of one agent."""
    utility: FloatArray
    quality: FloatArray
    """As it is shown, so that a plan holds by its own figures."""
    quality_var: FloatArray
    """For intervals of a quality."""
    contrast_var: FloatArray
    """For intervals of a difference: without what moves all models together."""
    cost: FloatArray
    cost_var: FloatArray
    cost_p95: FloatArray
    latency: FloatArray
    latency_var: FloatArray
    tokens: FloatArray
    scores: FloatArray
    relaxed: tuple[tuple[str, ...], ...]
    seq: int

    def per_agent(self, per_call: FloatArray) -> FloatArray:
        """(G, M), 0 where the model may not do the task."""
        return np.nan_to_num(per_call) * self.calls[:, None]

    def all_on(self, model: int) -> IntArray:
        """(G, M) with every agent on one model."""
        assigned = np.zeros(self.utility.shape, dtype=np.int64)
        assigned[:, model] = self.agents
        return assigned

    @property
    def universal(self) -> list[int]:
        """Models that may do every task."""
        return np.flatnonzero(~np.isnan(self.utility).any(axis=0)).tolist()


def plan(wanted: Orchestration, outlooks: Sequence[Outlook], known: Container[str]) -> Plan:
    """Assign the models; ``outlooks``: one per group of agents, in their order.

    Raises ``NoEligibleModel`` naming the agents that no model may serve, ``ModelNotFound`` where the baseline is not ``known``,
    ``PlanInfeasible`` naming the limits that cannot be met and what they would have to be.
    """
    if wanted.baseline is not None and wanted.baseline not in known:
        raise ModelNotFound("no model has the id of the baseline", field="baseline", remedy="'pointsman models list' shows the ids")
    table = _tabulate(list(zip(wanted.agents, outlooks, strict=True)), wanted.limits.min_scores)
    baseline, not_comparable = _baseline(wanted, table)
    floor = wanted.limits.min_quality
    if floor is None and wanted.goal is Goal.CHEAPEST:
        if baseline is None:
            why = "; ".join(not_comparable.values()) or "no one model may serve all of them"
            raise PlanInfeasible(
                f"the cheapest plan has no quality to keep to, as all agents on the baseline are no plan: {why}",
                field="baseline",
                remedy="set min_quality, or name another baseline",
            )
        floor = _mean(table, table.all_on(baseline), table.quality)
    limits = _limits(wanted, table, floor)
    assigned = solve(Problem(table.agents, _value(wanted.goal, table), limits))
    if isinstance(assigned, Conflict):
        raise _infeasible(assigned, {limit.name: limit for limit in limits}, table, of_baseline=wanted.limits.min_quality is None)
    return Plan(
        name=wanted.name,
        goal=wanted.goal,
        agents=int(table.agents.sum()),
        calls=int((table.agents * table.calls).sum()),
        assigned=_lines(table, assigned),
        totals=_totals(table, assigned),
        limits=_uses(limits, assigned),
        min_quality=floor,
        comparisons=tuple(_compare(table, assigned, model, limits) for model in _others(table, baseline)),
        not_comparable=not_comparable,
        seq=table.seq,
    )


def _tabulate(known: Sequence[tuple[Agents, Outlook]], min_scores: int) -> _Table:
    models = sorted({model for _, outlook in known for model in outlook.models})
    column = {model: i for i, model in enumerate(models)}
    names = [
        "utility", "quality", "quality_var", "contrast_var", "cost", "cost_var", "cost_p95", "latency", "latency_var", "tokens", "scores",
    ]  # fmt: skip
    table = {name: np.full((len(known), len(models)), np.nan) for name in names}
    for g, (group, outlook) in enumerate(known):
        known_cost = ~np.isnan(outlook.estimates.cost)
        priced = np.flatnonzero(known_cost & (np.array(outlook.scores) >= min_scores))
        if not len(priced):
            raise _unserved(group, outlook, int((~known_cost).sum()))
        at = np.array([column[outlook.models[i]] for i in priced.tolist()])
        e = outlook.estimates
        quality = [bounded(q) for q in e.quality.tolist()]
        rows = {
            "utility": outlook.about.mean, "quality": quality, "quality_var": e.quality_interval_var, "contrast_var": e.quality_var,
            "cost": e.cost, "cost_var": e.cost_var, "cost_p95": np.fmax(e.cost_p95, e.cost), "latency": e.latency,
            "latency_var": e.latency_var, "tokens": np.array(outlook.output_tokens) + group.task.context_tokens,
            "scores": np.array(outlook.scores),
        }  # fmt: skip
        for name, values in rows.items():
            table[name][g, at] = np.asarray(values)[priced]
    return _Table(
        groups=tuple(group for group, _ in known),
        models=tuple(models),
        agents=np.array([group.count for group, _ in known], dtype=np.int64),
        calls=np.array([group.calls for group, _ in known], dtype=np.int64),
        relaxed=tuple(outlook.relaxed for _, outlook in known),
        seq=max(outlook.seq for _, outlook in known),
        **table,
    )


def _unserved(group: Agents, outlook: Outlook, unpriced: int) -> NoEligibleModel:
    ours = {"price_unknown": unpriced, "min_scores": len(outlook.models) - unpriced}
    counts = {code: n for code, n in ours.items() if n}
    for exclusion in outlook.excluded:
        counts[exclusion.code] = counts.get(exclusion.code, 0) + 1
    told = ", ".join(f"{code} leaves out {n}" for code, n in sorted(counts.items(), key=lambda item: -item[1]))
    return NoEligibleModel(
        f"no model may serve the agents {group.name} ({told or 'the catalogue is empty'})",
        field="agents",
        remedy="relax the limit of these agents that leaves out most",
    )


def _baseline(wanted: Orchestration, table: _Table) -> tuple[int | None, dict[str, str]]:
    """Column of the baseline, and what is wrong with the one that was named."""
    universal = table.universal
    if wanted.baseline is not None:
        column = table.models.index(wanted.baseline) if wanted.baseline in table.models else None
        if column in universal:
            return column, {}
        unserved = [group.name for g, group in enumerate(table.groups) if column is None or math.isnan(table.utility[g, column])]
        return None, {wanted.baseline: f"it may not serve {', '.join(unserved)}"}
    worth = {m: float((table.agents * table.per_agent(table.utility)[:, m]).sum()) for m in universal}
    return max(worth, key=lambda m: worth[m], default=None), {}


def _value(goal: Goal, table: _Table) -> FloatArray:
    """(G, M) worth of one agent, NaN where it may not have the model."""
    calls = table.calls[:, None]
    cost = table.cost / max(float(np.nanmax(table.cost)), 1e-300)
    if goal is Goal.CHEAPEST:
        return calls * (-cost + _TIE * table.quality)
    if goal is Goal.BEST:
        return calls * (table.quality - _TIE * cost)
    return calls * table.utility


def _limits(wanted: Orchestration, table: _Table, floor: float | None) -> tuple[Limit, ...]:
    limits = wanted.limits
    made: list[Limit] = []
    if limits.budget_usd is not None:
        made.append(Limit(_BUDGET, table.per_agent(table.cost), limits.budget_usd))
    if floor is not None:
        made.append(Limit(_QUALITY, -table.per_agent(table.quality), -floor * float((table.agents * table.calls).sum())))
    minutes = limits.duration_s / 60.0
    for provider, rate in sorted(limits.providers.items()):
        its = np.array([model.partition("/")[0] == provider for model in table.models])
        if rate.requests_per_minute is not None:
            made.append(Limit(f"requests to {provider}", table.per_agent(np.where(its, 1.0, 0.0)), rate.requests_per_minute * minutes))
        if rate.tokens_per_minute is not None:
            made.append(Limit(f"tokens of {provider}", table.per_agent(np.where(its, table.tokens, 0.0)), rate.tokens_per_minute * minutes))
    return tuple(made)


def _infeasible(conflict: Conflict, limits: dict[str, Limit], table: _Table, *, of_baseline: bool) -> PlanInfeasible:
    """Names the limits that exclude each other, with what each would have to be for the others to hold."""
    told, remedies = [], []
    for name, least in conflict.least.items():
        stated, needed = _in_words(name, limits[name].at_most, table), _in_words(name, least, table)
        told.append(f"{name} of {stated}{' (that of all agents on the baseline)' if name == _QUALITY and of_baseline else ''}")
        way = "set min_quality" if name == _QUALITY and of_baseline else f"{'lower' if name == _QUALITY else 'raise'} {name}"
        remedies.append(f"{way} to {needed}")
    among = " while the other holds" if len(told) == 2 else " while the others hold" if len(told) > 2 else ""
    verb = "cannot be met" if len(told) == 1 else "cannot be met together"
    return PlanInfeasible(f"{' and '.join(told)} {verb}", field="limits", remedy=f"{' or '.join(remedies)}{among}")


def _in_words(name: str, amount: float, table: _Table) -> str:
    if name == _BUDGET:
        return usd(amount)
    if name == _QUALITY:
        return f"{-amount / float((table.agents * table.calls).sum()):.4f}"
    return f"{amount:,.0f}"


def _mean(table: _Table, assigned: IntArray, per_call: FloatArray) -> float:
    """Over all calls."""
    return float((assigned * table.per_agent(per_call)).sum() / (table.agents * table.calls).sum())


def _spread(weight: FloatArray, variance: FloatArray) -> float:
    """Standard deviation of sum(weight * figure): one model's errors move together, different models' do not."""
    per_model = (np.abs(weight) * np.sqrt(np.maximum(np.nan_to_num(variance), 0.0))).sum(axis=0)
    return float(np.sqrt((per_model**2).sum()))


def _around(mean: float, deviation: float, low: float = -math.inf, high: float = math.inf) -> Estimate:
    return Estimate(mean, max(low, mean - Z90 * deviation), min(high, mean + Z90 * deviation))


def _totals(table: _Table, assigned: IntArray) -> Totals:
    calls: FloatArray = (assigned * table.calls[:, None]).astype(np.float64)
    share: FloatArray = calls / calls.sum()
    single = np.nan_to_num((table.cost_p95 - table.cost) / Z90)
    spread = math.hypot(_spread(calls, table.cost_var), math.sqrt(float((calls * single**2).sum())))
    return Totals(
        cost_usd=_around(float((calls * np.nan_to_num(table.cost)).sum()), spread, low=0.0),
        quality=Estimate(*shown(_mean(table, assigned, table.quality), _spread(share, table.quality_var))),
        latency_s=_around(_mean(table, assigned, table.latency), _spread(share, table.latency_var), low=0.0),
        longest_s=float(np.where(assigned > 0, np.nan_to_num(table.latency), 0.0).max()),
    )


def _lines(table: _Table, assigned: IntArray) -> tuple[Assigned, ...]:
    lines = []
    for g, m in zip(*np.nonzero(assigned), strict=True):
        group, count = table.groups[g], int(assigned[g, m])
        cost = float(table.cost[g, m])
        lines.append(
            Assigned(
                group=int(g),
                agents=group.name,
                task_type=group.task.task_type,
                model=table.models[m],
                count=count,
                calls=count * group.calls,
                scores=round(float(table.scores[g, m])),
                quality=Estimate(*shown(float(table.quality[g, m]), math.sqrt(table.quality_var[g, m]))),
                cost_usd=_around(cost, math.sqrt(table.cost_var[g, m]), low=0.0),
                latency_s=_around(float(table.latency[g, m]), math.sqrt(table.latency_var[g, m]), low=0.0),
                total_usd=cost * count * group.calls,
                relaxed=table.relaxed[g],
            )
        )
    return tuple(lines)


def _uses(limits: Sequence[Limit], assigned: IntArray) -> tuple[LimitUse, ...]:
    uses = []
    for limit in limits:
        if limit.name == _QUALITY:
            continue  # a floor: the plan's own quality says how it is met
        uses.append(LimitUse(limit.name, limit.at_most, float((limit.per_agent * assigned).sum())))
    return tuple(uses)


def _others(table: _Table, baseline: int | None) -> list[int]:
    """The baseline, then the single models that are best, and cheapest, for all."""
    universal = table.universal
    if not universal:
        return []
    quality = {m: _mean(table, table.all_on(m), table.quality) for m in universal}
    cost = {m: _mean(table, table.all_on(m), table.cost) for m in universal}
    chosen = [baseline, max(quality, key=lambda m: quality[m]), min(cost, key=lambda m: cost[m])]
    return list(dict.fromkeys(m for m in chosen if m is not None))


def _compare(table: _Table, assigned: IntArray, model: int, limits: Sequence[Limit]) -> Comparison:
    single = table.all_on(model)
    ours, theirs = _totals(table, assigned), _totals(table, single)
    calls = float((table.agents * table.calls).sum())
    moved: FloatArray = (assigned - single) * (table.calls[:, None] / calls)
    return Comparison(
        model=table.models[model],
        totals=theirs,
        cost_saved_usd=theirs.cost_usd.mean - ours.cost_usd.mean,
        cost_ratio=ours.cost_usd.mean / theirs.cost_usd.mean if theirs.cost_usd.mean > 0 else None,
        quality_difference=_around(ours.quality.mean - theirs.quality.mean, _spread(moved, table.contrast_var), -1.0, 1.0),
        latency_difference_s=ours.latency_s.mean - theirs.latency_s.mean,
        breaks=tuple(limit.name for limit in limits if float((limit.per_agent * single).sum()) > limit.at_most + 1e-9 * abs(limit.at_most)),
    )
