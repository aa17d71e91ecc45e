"""What a run of a battery found: per task type and model, and for the whole orchestration, beside the baseline."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from router.domain.battery_runs import BatteryCell, BatteryRun
from router.domain.events import DecisionRecord, Status
from router.domain.measured import Measure, of_differences, of_scores, of_values

QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class CellResult:
    """One task type with one model."""

    task_type: str
    model: str
    planned: int
    skipped: str | None = None
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    """Calls without an outcome: they were under way when the run was killed."""
    quality: Measure | None = None
    quality_against_baseline: Measure | None = None
    """Difference on the cases that both answered."""
    tokens_per_s: float | None = None
    latency_s: Measure | None = None
    cost_usd: Measure | None = None
    """Per call; None where it is unknown."""
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    """Everything else that judges said: similarity, agreement, compiles, ..."""
    first_seq: int | None = None
    last_seq: int | None = None
    """Where its decisions are in the log."""


@dataclass(frozen=True, slots=True)
class TotalResult:
    """One model on everything that all models played, weighed by the agents of each task type."""

    model: str
    agents: int
    quality: float | None
    cost_usd: float | None
    """Of one task for every agent."""
    latency_s: float | None
    """Of the same one after the other."""


@dataclass(frozen=True, slots=True)
class BatteryReport:
    """A run and what it found."""

    run: BatteryRun
    cells: tuple[CellResult, ...]
    totals: tuple[TotalResult, ...]
    spent_usd: float
    query: str
    """Lists the rows of the log behind every figure."""


def report(run: BatteryRun, cells: Sequence[BatteryCell], records: Sequence[DecisionRecord]) -> BatteryReport:
    """Put a run's calls together."""
    found: dict[tuple[str, str], list[DecisionRecord]] = {}
    for record in records:
        found.setdefault((record.decision.task_type, record.decision.model), []).append(record)
    beside = {task: _by_case(group) for (task, model), group in found.items() if model == run.baseline}
    results = tuple(_cell(cell, found.get((cell.task_type, cell.model), []), beside.get(cell.task_type), run.baseline) for cell in cells)
    spent = math.fsum(paid_for(record) for record in records)
    return BatteryReport(run, results, _totals(cells, results), spent + run.judge_usd, f"GET /v1/decisions?episode_id={run.id}")


def score_of(record: DecisionRecord, metric: str = QUALITY) -> float | None:
    """The weighted mean of the scores of one metric that hold, as the learner settles them."""
    latest = {entry["id"]: entry for entry in record.feedback if entry["metric"] == metric}
    held = [(entry["score"], entry["weight"]) for entry in latest.values() if entry["score"] is not None]
    weight = math.fsum(w for _, w in held)
    return math.fsum(s * w for s, w in held) / weight if weight > 0 else None


def _cell(
    cell: BatteryCell, records: Sequence[DecisionRecord], beside: Mapping[tuple[str, str], float] | None, baseline: str
) -> CellResult:
    if cell.skipped is not None:
        return CellResult(cell.task_type, cell.model, 0, cell.skipped)
    ended = [(record, record.outcome) for record in records if record.outcome is not None]
    good = [(record, outcome) for record, outcome in ended if outcome.status is Status.OK]
    scores = _by_case(record for record, _ in good)
    timed = [(o.output_tokens, o.latency_s) for _, o in good if o.output_tokens is not None and o.latency_s]
    seconds = math.fsum(s for _, s in timed)
    costs = [o.cost_usd for _, o in good if o.cost_usd is not None]
    names = sorted({entry["metric"] for record, _ in good for entry in record.feedback} - {QUALITY})
    metrics = {name: _measure([s for record, _ in good if (s := score_of(record, name)) is not None]) for name in names}
    shared = [] if beside is None or cell.model == baseline else [scores[case] - beside[case] for case in scores if case in beside]
    return CellResult(
        task_type=cell.task_type,
        model=cell.model,
        planned=cell.calls,
        answered=len(good),
        failed=len(ended) - len(good),
        unknown=len(records) - len(ended),
        quality=_measure(list(scores.values())),
        quality_against_baseline=of_differences(shared),
        tokens_per_s=sum(n for n, _ in timed) / seconds if seconds > 0 else None,
        latency_s=of_values([o.latency_s for _, o in good if o.latency_s is not None]),
        cost_usd=of_values(costs) if len(costs) == len(good) else None,
        metrics={name: measure for name, measure in metrics.items() if measure is not None},
        first_seq=records[0].seq if records else None,
        last_seq=records[-1].seq if records else None,
    )


def _by_case(records: Iterable[DecisionRecord]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for record in records:
        tags = dict(record.decision.tags)
        if (score := score_of(record)) is not None:
            found[tags["case"], tags["repetition"]] = score
    return found


def _measure(scores: Sequence[float]) -> Measure | None:
    return of_scores(math.fsum(scores), float(len(scores)), len(scores))


def paid_for(record: DecisionRecord) -> float:
    """USD that the calls of a decision are known to have cost."""
    last = None if record.outcome is None else record.outcome.cost_usd
    return (last or 0.0) + math.fsum(attempt.cost_usd or 0.0 for attempt in record.attempts if not attempt.last)


def _totals(cells: Sequence[BatteryCell], results: Sequence[CellResult]) -> tuple[TotalResult, ...]:
    played = {(result.task_type, result.model): result for result in results if result.answered}
    models = list(dict.fromkeys(cell.model for cell in cells))
    agents = {cell.task_type: cell.agents for cell in cells}
    shared = [task for task in agents if all((task, model) in played for model in models)]
    if len(models) < 2 or len(shared) < 2:
        return ()
    weight = sum(agents[task] for task in shared)
    totals = []
    for model in models:
        mine = [(agents[task], played[task, model]) for task in shared]
        quality = [None if r.quality is None else n * r.quality.mean for n, r in mine]
        cost = [None if r.cost_usd is None else n * r.cost_usd.mean for n, r in mine]
        latency = [None if r.latency_s is None else n * r.latency_s.mean for n, r in mine]
        mean = _sum(quality)
        totals.append(TotalResult(model, weight, None if mean is None else mean / weight, _sum(cost), _sum(latency)))
    return tuple(totals)


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None
