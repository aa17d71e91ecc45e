"""What is played: a table of recorded outcomes, what is preferred, how much is told, what changes on the way."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pyarrow import csv, parquet

from learning.simulation import World
from router.domain.outcome_stream import Change, Stream, Weights, lay_out, model_means
from router.domain.outcome_table import FloatArray, IntArray, OutcomeTable
from router.services.replay import ReplayOptions
from router.services.texts import projection
from router.storage.outcome_files import PROMPT, read_outcomes

SIMULATED = "simulated"
_SIMULATED_PROMPTS = 3_000
TYPICAL_OUTPUT_TOKENS = 340.0
"""What Pointsman assumes of an answer before it has seen one (``learning.targets``): known to every peer that can use it."""
TYPICAL_QUALITY = 0.7
"""Likewise."""
SAFE_DEFAULT = "safe default"
"""The scenario in which Pointsman is told of a model that does."""
LYING_SHARE = 0.2
"""Of the scores, where one key lies."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One stream, up to its seed and contender."""

    table: str
    """Path of a table, or ``simulated``."""
    cost_weight: float = 0.0
    """Utility that the dearest model's mean cost takes away."""
    budget: int | None = None
    """Place of the dollar budget among the five, None without one."""
    feedback: float = 1.0
    scenario: str = "stationary"
    prompts: int | None = None
    """Draw so many prompts of the table anew per seed; None takes all."""
    era: str | None = None
    """``first`` keeps the prompts of the first era only."""

    @property
    def name(self) -> str:
        return Path(self.table).stem

    @property
    def setting(self) -> str:
        """What is wanted, in words."""
        if self.budget is not None:
            return f"budget {self.budget + 1} of {N_BUDGETS}"
        return "quality only" if not self.cost_weight else f"cost {self.cost_weight:g}"

    @property
    def file_order(self) -> bool:
        """Whether the stream keeps the file's order."""
        return self.scenario == "file order"


N_BUDGETS = 5


@lru_cache(maxsize=4)
def _whole(path: str, texts: str = "off") -> OutcomeTable:
    return simulated_table() if path == SIMULATED else read_outcomes(path, projection(texts, field="texts"))


@lru_cache(maxsize=8)
def table_of(problem: Problem, seed: int, texts: str = "off") -> OutcomeTable:
    """The table that a seed of the problem plays on, with its prompts read in one of ``PROJECTIONS``."""
    table = _whole(problem.table, texts)
    if problem.era == "first":
        table = take(table, np.arange(_first_era(problem.table)))
    if problem.prompts is not None and problem.prompts < len(table.prompt_ids):
        kept = np.random.default_rng([seed, 7]).choice(len(table.prompt_ids), problem.prompts, replace=False)
        table = take(table, np.sort(kept))
    return table


@lru_cache(maxsize=4)
def _first_era(path: str) -> int:
    """Prompts before the second era begins; all of them where there is one era. The router's table keeps the order only."""
    if path == SIMULATED:
        return _SIMULATED_PROMPTS
    file = csv.read_csv(path) if path.endswith(".csv") else parquet.read_table(path)
    eras = file["era"].to_pylist() if "era" in file.column_names else [None] * file.num_rows
    rows = zip(file["prompt_id"].to_pylist(), eras, file["quality"].to_pylist(), strict=True)
    scored = [(prompt, era) for prompt, era, quality in rows if quality is not None]
    return len({prompt for prompt, era in scored if era == scored[0][1]})


def swap_at(problem: Problem) -> int:
    """First decision of the second era of a table in file order."""
    return _first_era(problem.table)


def take(table: OutcomeTable, prompts: IntArray) -> OutcomeTable:
    """The table of some of its prompts, in that order."""
    count = table.count[prompts]
    order = np.concatenate([table.order[f : f + c] for f, c in zip(table.first[prompts].ravel(), count.ravel(), strict=True)])
    ends = np.cumsum(count.ravel()).reshape(count.shape)
    return OutcomeTable(
        prompt_ids=tuple(table.prompt_ids[p] for p in prompts),
        task_types=tuple(table.task_types[p] for p in prompts),
        context_tokens=table.context_tokens[prompts],
        models=table.models,
        order=np.arange(len(order)),
        first=ends - count,
        count=count,
        quality=table.quality[order],
        cost_usd=table.cost_usd[order],
        input_tokens=table.input_tokens[order],
        output_tokens=table.output_tokens[order],
        latency_s=table.latency_s[order],
        dropped=0,
        texts=tuple(table.texts[p] for p in prompts) if table.texts else (),
    )


def simulated_table(prompts: int = _SIMULATED_PROMPTS) -> OutcomeTable:
    """Every model's answer to every prompt in a world with known truth: 10 models, 5 task types."""
    rng = np.random.default_rng(20_240)
    world = World.draw(rng, 10, 5)
    kinds = rng.integers(0, len(world.task_types), prompts)
    answers = [[world.call(rng, m, world.task_types[t]) for m in world.models] for t in kinds.tolist()]
    flat = [a for row in answers for a in row]
    k = len(world.models)
    return OutcomeTable(
        prompt_ids=tuple(f"prompt-{i}" for i in range(prompts)),
        task_types=tuple(world.task_types[t] for t in kinds.tolist()),
        context_tokens=np.full(prompts, 1_000),
        models=world.models,
        order=np.arange(prompts * k),
        first=np.arange(prompts * k).reshape(prompts, k),
        count=np.ones((prompts, k), dtype=np.int64),
        quality=np.array([a.quality for a in flat]),
        cost_usd=np.array([a.cost_usd for a in flat]),
        input_tokens=np.full(prompts * k, 1_000.0),
        output_tokens=np.array([float(a.output_tokens) for a in flat]),
        latency_s=np.array([a.latency_s for a in flat]),
        dropped=0,
    )


def budgets(table: OutcomeTable) -> FloatArray:
    """(5,) USD per request, spread log-evenly strictly between the cheapest and the dearest model's mean cost."""
    cost = model_means(table, table.cost_usd)
    spread: FloatArray = np.geomspace(np.nanmin(cost), np.nanmax(cost), N_BUDGETS + 2)[1:-1]
    return spread


def safe_default(table: OutcomeTable) -> int:
    """The dearest model, which an operator without data would take; the best where nothing is known of costs."""
    cost = model_means(table, table.cost_usd)
    return int(np.nanargmax(model_means(table, table.quality) if np.isnan(cost).all() else cost))


def has_costs(path: str) -> bool:
    """Whether a table says what calls cost, for two models at least."""
    cost = model_means(_whole(path), _whole(path).cost_usd)
    return int((~np.isnan(cost)).sum()) > 1


def options(problem: Problem, seed: int, policy: str = "thompson") -> ReplayOptions:
    """The options of Pointsman's pass."""
    table = table_of(problem, seed)
    return ReplayOptions(
        policy=policy,
        cost_weight=problem.cost_weight,
        budget_usd_per_request=None if problem.budget is None else float(budgets(table)[problem.budget]),
        feedback_rate=problem.feedback,
        safe_model=table.models[safe_default(table)] if problem.scenario == SAFE_DEFAULT else None,
        lying_share=LYING_SHARE if problem.scenario == "lying key" else 0.0,
        seed=seed,
        order="file" if problem.file_order else "shuffle",
        changes=changes(problem, seed),
    )


def stream_of(problem: Problem, seed: int) -> Stream:
    """The decisions that every contender faces: the ones Pointsman's pass lays out for itself."""
    asked = options(problem, seed)
    return lay_out(
        table_of(problem, seed),
        Weights(1.0, problem.cost_weight),
        seed=seed,
        shuffle=asked.order == "shuffle",
        feedback_rate=asked.feedback_rate,
        needs_cost=asked.budget_usd_per_request is not None,
        changes=tuple(asked.changes),
    )


def changes(problem: Problem, seed: int) -> tuple[Change, ...]:
    """What happens at half-time. Which model it happens to is read off the whole table."""
    table = table_of(problem, seed)
    quality = table.means(table.quality)
    mean, cost = model_means(table, table.quality), model_means(table, table.cost_usd)
    best = table.models[int(np.nanargmax(mean))]
    match problem.scenario:
        case "price cut":
            dear = np.where(np.isnan(cost), -np.inf, np.where(mean >= np.nanmedian(mean), cost, -np.inf))
            return (Change(table.models[int(dear.argmax())], 0.5, price=0.1),)
        case "regression":
            return (Change(best, 0.5, kept=0.6),)
        case "best model arrives":
            model, _ = specialist(table, quality)
            return (Change(model, 0.0, offered=False), Change(model, 0.5))
        case "useless model arrives":
            model = table.models[int(np.nanargmin(mean))]
            return (Change(model, 0.0, offered=False), Change(model, 0.5))
        case "useless model never arrives":
            return (Change(table.models[int(np.nanargmin(mean))], 0.0, offered=False),)
        case "best model leaves":
            return (Change(best, 0.5, offered=False),)
    return ()


def specialist(table: OutcomeTable, quality: FloatArray | None = None) -> tuple[str, str]:
    """The model with the greatest lead over all others on one task type, and that type."""
    quality = table.means(table.quality) if quality is None else quality
    task = np.array(table.task_types)
    lead: list[tuple[float, str, str]] = []
    for name in sorted(set(table.task_types)):
        inside = quality[task == name]
        shown = (~np.isnan(inside)).mean(axis=0) >= 0.5
        if shown.sum() < 2:
            continue
        value = np.where(shown, np.nanmean(np.where(shown, inside, 0.0), axis=0), -np.inf)
        first, second = np.argsort(-value)[:2]
        lead.append((float(value[first] - value[second]), table.models[int(first)], name))
    _, model, name = max(lead)
    return model, name


def find_tables(given: list[str]) -> list[str]:
    """Paths of tables: as given (files or folders), else of POINTSMAN_TABLES, else of ../shared/data, else none."""
    roots = [Path(p) for p in given or os.environ.get("POINTSMAN_TABLES", "").split(os.pathsep) if p]
    if not roots:
        beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
        roots = [beside] if beside.is_dir() else []
    files = [f for root in roots for f in (sorted(root.glob("*.parquet")) if root.is_dir() else [root])]
    return [str(f) for f in files]


def has_prompts(path: str) -> bool:
    """Whether a table says what was asked."""
    if path == SIMULATED:
        return False
    names = csv.open_csv(path).schema.names if path.endswith(".csv") else parquet.read_schema(path).names
    return PROMPT in names


def n_models(path: str) -> int:
    """Models of a table."""
    return len(_whole(path).models)


def is_swap(path: str) -> bool:
    """Whether a table has a second era."""
    return _first_era(path) < len(_whole(path).prompt_ids)
