"""Which passes are made. Main effects around a default cell and the pairs that matter, not the full product.

Default cell: stationary, all scores told, no budget. Every table is played in it with every contender and all four preferences. Feedback
rates are varied on quality only; dollar budgets replace the preference; changes and the real swap are played where the table has enough
models. Slow libraries play two to five seeds. Outside quality only and cost 0.3 every library plays in its best known setting only, and the
slow ones play their defaults on quality only.
"""

from dataclasses import dataclass, replace

from benchmarks.learning.contenders import CONTENDERS, TEXTS, Entry, absent, entry
from benchmarks.learning.problems import (
    LYING_SHARE,
    N_BUDGETS,
    SAFE_DEFAULT,
    Problem,
    has_costs,
    has_prompts,
    is_swap,
    n_models,
    table_of,
)

COST_WEIGHTS = (0.0, 0.1, 0.3, 1.0)
FEEDBACK_RATES = (0.2, 0.05)
CHANGES = ("price cut", "regression", "best model arrives", "useless model arrives", "useless model never arrives", "best model leaves")
_MANY = 5_000
_DEFAULTS = {"vw squarecb", "vw regcb", "paretobandit default", "epsilon-greedy", "litellm rule .7/.3"}
"""Settings with a better known sister."""
_BESIDE = "pointsman linucb"
"""Plays the stationary cells only: half an hour is short."""
FORWARD = ("vw squarecb", "vw squarecb tuned", "vw regcb tuned", "paretobandit", "paretobandit default", "paretobandit warm")
"""Library settings that play the scenarios too: the fast ones."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One problem, who plays it and how often."""

    problem: Problem
    section: str
    contenders: tuple[str, ...]
    seeds: int

    def seeds_of(self, contender: str) -> int:
        """How many of them a contender plays: the first."""
        most = entry(contender).seeds
        return self.seeds if most is None else min(self.seeds, most)

    def passes(self) -> list[tuple[Problem, str, int]]:
        """Every (problem, contender, seed)."""
        return [(self.problem, c, s) for c in self.contenders for s in range(self.seeds_of(c))]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is played."""

    seeds: int = 10
    prompts: int = 2_500
    """Most prompts of a table with few models, drawn anew per seed; the others play 5,000."""
    march: int = 20
    quick: bool = False


FULL = Size()
QUICK = Size(seeds=3, prompts=1_500, march=5, quick=True)


def design(tables: list[str], size: Size, texts: str = "off") -> list[Cell]:
    """All cells, the most telling first; with ``texts``, Pointsman plays those without changes once more, reading the prompts that way."""
    missing = {n for names in absent().values() for n in names}
    reader = TEXTS.get(texts)
    reads = () if reader is None or reader.name in missing else (reader.name,)
    here = [c for c in CONTENDERS if c.name not in missing and not (size.quick and c.seeds is not None)]
    cells = [cell for table in tables for cell in _stationary(table, here, size, reads if has_prompts(table) else ())]
    for table in tables:
        cells += _feedback(table, here, size)
        cells += _budgets(table, here, size)
        cells += _changes(table, here, size)
        cells += _swap(table, here, size)
        cells += _lies(table, size)
    return cells


def _base(table: str, size: Size) -> Problem:
    return Problem(table, prompts=size.prompts if n_models(table) < 10 else _MANY)


def _names(
    here: list[Entry], *, costly: bool, defaults: bool = True, slow_defaults: bool = True, yardsticks: bool = False
) -> tuple[str, ...]:
    return tuple(
        c.name
        for c in here
        if (costly or not c.priced)
        and not c.only_budgets
        and (yardsticks or not c.yardstick)
        and (defaults or c.name not in _DEFAULTS)
        and (slow_defaults or c.seeds is None or "tuned" in c.name or "NIG" in c.name)
    )


def _forward(here: list[Entry], *, costly: bool) -> tuple[str, ...]:
    own = {c.name for c in here if c.package is None and not c.yardstick and c.name != _BESIDE}
    return tuple(c.name for c in here if (c.name in own or c.name in FORWARD) and (costly or not c.priced))


def _stationary(table: str, here: list[Entry], size: Size, reads: tuple[str, ...]) -> list[Cell]:
    weights = COST_WEIGHTS if has_costs(table) else (0.0,)
    if size.quick:
        weights = weights[:1] + weights[2:3]
    base = _base(table, size)
    return [
        Cell(
            replace(base, cost_weight=w),
            "stationary",
            _names(here, costly=w > 0, defaults=w in (0.0, 0.3), slow_defaults=w == 0.0, yardsticks=n_models(table) > 2) + reads,
            size.seeds,
        )
        for w in weights
    ]


def _feedback(table: str, here: list[Entry], size: Size) -> list[Cell]:
    rates = FEEDBACK_RATES[1:] if size.quick else FEEDBACK_RATES
    base = _base(table, size)
    names = tuple(n for n in _names(here, costly=False, defaults=False, slow_defaults=False) if n != _BESIDE)
    guarded = Cell(replace(base, feedback=FEEDBACK_RATES[-1], scenario=SAFE_DEFAULT), SAFE_DEFAULT, ("pointsman",), size.seeds)
    return [*(Cell(replace(base, feedback=rate), "feedback", names, size.seeds) for rate in rates), guarded]


def _budgets(table: str, here: list[Entry], size: Size) -> list[Cell]:
    if not has_costs(table) or (size.quick and n_models(table) < 10):
        return []
    names = tuple(c.name for c in here if c.budgets and c.name not in ("random", _BESIDE))
    places = (1, 3) if size.quick else range(N_BUDGETS)
    seeds = size.seeds if n_models(table) >= 10 else max(3, size.seeds // 2)
    return [Cell(replace(_base(table, size), budget=b), "budget", names, seeds) for b in places]


def _changes(table: str, here: list[Entry], size: Size) -> list[Cell]:
    if n_models(table) < 3:
        return []
    cells = []
    for scenario in CHANGES[2:3] if size.quick else CHANGES:
        if scenario == "price cut" and not has_costs(table):
            continue
        weight = 0.3 if scenario == "price cut" else 0.0
        names = _forward(here, costly=weight > 0)
        if scenario == "useless model never arrives":
            names = ("pointsman",)
        seeds = size.seeds if len(table_of(Problem(table), 0).prompt_ids) > 1_000 else max(3, size.seeds // 2)
        cells.append(Cell(replace(_base(table, size), scenario=scenario, cost_weight=weight), "change", names, seeds))
    return cells


def _swap(table: str, here: list[Entry], size: Size) -> list[Cell]:
    if not is_swap(table):
        return []
    swap = Problem(table, scenario="file order")
    march = Problem(table, era="first")
    return [
        Cell(swap, "swap", _forward(here, costly=False), size.seeds),
        Cell(march, "false alarms", ("pointsman",), size.march),
    ]


def _lies(table: str, size: Size) -> list[Cell]:
    base = _base(table, size)
    seeds = size.seeds if n_models(table) > 2 else max(3, size.seeds // 2)
    return [
        Cell(replace(base, scenario="lying key"), "lies", ("pointsman",), seeds),
        Cell(replace(base, feedback=1.0 - LYING_SHARE), "silent key", ("pointsman",), seeds),
    ]
