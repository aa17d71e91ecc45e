"""Gives every agent of an orchestration a model, jointly under limits: a small integer program, solved by HiGHS.

Agents with the same task are one group, so the variables are how many agents of a group a model gets: groups x models of them, however
many agents there are. A limit is a sum over agents that must not exceed an amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray

_GAP = 1e-3
"""Relative distance from the best possible value at which the search ends."""
_WHOLE = 1e-6
_SMALL = 2_000
"""Pairs of a group and a model up to which a program is of usual size."""
_PATIENCE_S = 20.0
_SLACK = 1e-9
"""Relative: a limit that an amount meets exactly must not fail by rounding."""


@dataclass(frozen=True, slots=True)
class Limit:
    """sum over groups g and models m of ``per_agent[g, m]`` times agents <= ``at_most``"""

    name: str
    per_agent: FloatArray
    """(G, M)"""
    at_most: float


@dataclass(frozen=True, slots=True)
class Problem:
    """G groups and M models."""

    agents: IntArray
    """(G,)"""
    value: FloatArray
    """(G, M) worth of one agent on a model, to be maximised; NaN where it may not have the model."""
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Limits of which each can be met, but not all together; one alone cannot be met at all."""

    least: dict[str, float]
    """By limit: the least that it comes to while the other limits of the conflict hold."""


def solve(problem: Problem) -> IntArray | Conflict:
    """(G, M) agents per group and model of the best assignment, or why there is none. Every group needs a model that it may have."""
    found = _optimise(problem, -np.nan_to_num(problem.value), problem.limits)
    return found if found is not None else _conflict(problem)


def _optimise(problem: Problem, cost: FloatArray, limits: Sequence[Limit]) -> IntArray | None:
    """The assignment of least ``cost`` (G, M) within the limits, to a thousandth of it; None where there is none.

    Without limits the program has whole solutions, and each limit splits few groups: so it is first solved in fractions, and then only
    the groups that came out split are solved in whole agents. Where that misses the bound by more, all of a program of usual size is.
    """
    groups, models = np.nonzero(~np.isnan(problem.value))
    form = _Form(problem, cost[groups, models], groups, limits, np.array([limit.per_agent[groups, models] for limit in limits]))
    relaxed = form.solved(whole=False)
    if relaxed is None:
        return None
    x = relaxed
    split = np.zeros(len(problem.agents), dtype=np.bool_)
    split[groups[np.abs(x - np.rint(x)) > _WHOLE]] = True
    if split.any():
        fixed = np.where(split[groups], np.nan, np.rint(x))
        repaired = form.solved(whole=True, fixed=fixed)
        allowed = _GAP * max(abs(float(form.cost @ relaxed)), 1e-12)
        if repaired is None or float(form.cost @ repaired) > float(form.cost @ relaxed) + allowed:
            repaired = form.solved(whole=True) if repaired is None or len(groups) <= _SMALL else repaired
        if repaired is None:
            return None
        x = repaired
    assigned = np.zeros(problem.value.shape, dtype=np.int64)
    assigned[groups, models] = np.rint(x).astype(np.int64)
    return assigned


@dataclass(frozen=True, slots=True)
class _Form:
    """The program over the n pairs of a group and a model that it may have."""

    problem: Problem
    cost: FloatArray
    """(n,)"""
    groups: IntArray
    """(n,)"""
    limits: Sequence[Limit]
    rows: FloatArray
    """(n_limits, n)"""

    def solved(self, *, whole: bool, fixed: FloatArray | None = None) -> FloatArray | None:
        """(n,) agents per pair, whole or not, where ``fixed`` has no number; None: impossible."""
        from scipy.optimize import Bounds, LinearConstraint, milp  # here: only planning needs the solver
        from scipy.sparse import csr_array

        n, agents = len(self.groups), self.problem.agents
        every_agent = csr_array((np.ones(n), (self.groups, np.arange(n))), shape=(len(agents), n))
        constraints: list[Any] = [LinearConstraint(every_agent, agents, agents)]
        if self.limits:
            scale = np.maximum(np.abs(self.rows).max(axis=1, initial=0.0), 1e-300)  # a budget in cents beside tokens in millions
            most = np.array([limit.at_most + _SLACK * abs(limit.at_most) for limit in self.limits])
            constraints.append(LinearConstraint(self.rows / scale[:, None], -np.inf, most / scale))
        low, high = np.zeros(n), agents[self.groups].astype(np.float64)
        if fixed is not None:
            low, high = np.where(np.isnan(fixed), low, fixed), np.where(np.isnan(fixed), high, fixed)
        result = milp(
            self.cost / max(float(np.abs(self.cost).max(initial=0.0)), 1e-300),
            integrality=np.full(n, int(whole)),
            bounds=Bounds(low, high),
            constraints=constraints,
            options={"mip_rel_gap": _GAP, "time_limit": _PATIENCE_S},
        )
        x: FloatArray | None = result.x
        return x


def _conflict(problem: Problem) -> Conflict:
    """A smallest set of limits that cannot hold together: each is left out in turn, and stays out where the rest still cannot."""
    nothing = np.zeros(problem.value.shape)
    core = list(problem.limits)
    for limit in problem.limits:
        rest = [other for other in core if other is not limit]
        if rest and _optimise(problem, nothing, rest) is None:
            core = rest
    least = {}
    for limit in core:
        assigned = _optimise(problem, limit.per_agent, [other for other in core if other is not limit])
        if assigned is None:
            raise RuntimeError(f"the limits {[other.name for other in core]} conflict without {limit.name}")
        least[limit.name] = float((limit.per_agent * assigned).sum())
    return Conflict(least)
