"""The guide as Markdown: at most one page per task type."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from router.domain.guide import Cell, Guide, State, TaskGuide
from router.domain.measured import Measure

_MEASURED_SHOWN = 12
_INFERRED_SHOWN = 4

_STATUS = (
    "**Settled**: 95 % sure to be best within 0.01, with 30 scores or more behind it and the runner-up. **Leaning**: 80 % sure, or sure"
    " with fewer scores. **Contested**: another model may well be better."
)


def markdown(guide: Guide, made_at: float, pictures: Mapping[str, str]) -> str:
    """The whole guide; ``pictures`` are paths by task type."""
    made = datetime.fromtimestamp(made_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        "# Model selection guide",
        f"Made {made} from {guide.scores:,} scored answers on {_count(len(guide.task_types), 'task type')}, up to log position"
        f" {guide.seq:,} (learned state `{guide.digest[:12] or 'none'}`). Weights: {_weights(guide.weights)}.",
        "**Measured** figures are plain averages of the log's rows with 90 % intervals; each table says which query lists its rows."
        " **Inferred** ones are what the learner believes from the model's scores elsewhere and from other models on the same task type."
        " **Unknown**: the model was never scored, and only its price and published ratings speak for it.",
        _STATUS,
    ]
    if not guide.task_types:
        parts.append("Nothing has been scored yet. `pointsman battery run NAME` is the quickest way to a first page.")
        return "\n\n".join(parts) + "\n"
    parts += ["## At a glance", _glance(guide)]
    if guide.next_tests:
        parts += ["## The next test", _next_tests(guide)]
    for task in guide.task_types:
        parts += _page(task, pictures.get(task.task_type))
    return "\n\n".join(parts) + "\n"


def _glance(guide: Guide) -> str:
    rows = []
    for task in guide.task_types:
        cell = next((c for c in task.cells if c.model == task.recommended and c.state is State.MEASURED), None)
        figures = ("–",) * 4 if cell is None else (_quality(cell.quality), _thousand(cell.cost_usd), _rate(cell), _n(cell))
        rows.append((f"[{task.task_type}](#{task.task_type})", f"**{task.recommended or 'nobody yet'}**", *figures, task.status.value))
    return _table(("task type", "recommended", "quality [90 %]", "$ per 1,000", "tokens/s", "n", "evidence"), rows, "llrrrrl")


def _next_tests(guide: Guide) -> str:
    rows = [
        (test.task_type, test.model, test.state.value, f"{test.gain:.4f}", "unknown" if test.cost_usd is None else _usd(test.cost_usd))
        for test in guide.next_tests
    ]
    table = _table(("task type", "model", "today", "gain per task", "cost"), rows, "lllrr")
    return (
        "What 20 more scored cases would be worth: the expected rise in utility per task of the type (1 is a whole unit of quality), from"
        f" choosing better afterwards.\n\n{table}"
    )


def _page(task: TaskGuide, picture: str | None) -> list[str]:
    measured = [cell for cell in task.cells if cell.state is State.MEASURED]
    parts = [f"## {task.task_type}", _advice(task, measured)]
    if picture is not None:
        parts.append(f"![{task.task_type}: cost against quality]({picture})")
    if measured:
        parts.append(_measured(measured[:_MEASURED_SHOWN]))
        more = len(measured) - _MEASURED_SHOWN
        rest = f" {more} more measured models are in the JSON." if more > 0 else ""
        evidence = measured[0].evidence
        if evidence is not None:
            query = evidence.query.replace(f"model={measured[0].model}", "model=MODEL")
            parts.append(f"Rows behind the table: `{query}`, and their ids in the JSON beside this file.{rest}")
    parts.append(_others(task))
    return parts


def _advice(task: TaskGuide, measured: list[Cell]) -> str:
    cell = next((c for c in measured if c.model == task.recommended), None)
    if cell is None or cell.quality is None:
        return f"Nobody is recommended: no model has five scores on {task.task_type} yet."
    cost = f"{_thousand(cell.cost_usd)} per 1,000 calls" if cell.cost_usd else "a cost that is unknown"
    speed = f", {cell.tokens_per_s:,.0f} tokens/s" if cell.tokens_per_s else ""
    first = (
        f"**{task.recommended}** ({task.status.value}). It scored {cell.quality.mean:.3f}"
        f" [{cell.quality.low:.3f}, {cell.quality.high:.3f}] over {cell.quality.n:,} answers, at {cost}{speed}."
    )
    if task.runner_up is not None and task.difference is not None:
        gap = task.difference
        first += f" It is ahead of {task.runner_up} by {gap.mean:.3f} [{gap.low:+.3f}, {gap.high:+.3f}] utility."
        first += f" What would change this: {task.flip}."
    named = (("Best quality", task.best_quality), ("cheapest within 0.03 of it", task.cheapest_good), ("fastest", task.fastest))
    return first + "\n\n" + "; ".join(f"{what}: {model}" for what, model in named if model is not None) + "."


def _measured(cells: list[Cell]) -> str:
    rows = [
        (
            str(number),
            cell.model,
            _quality(cell.quality),
            _thousand(cell.cost_usd),
            _rate(cell),
            "–" if cell.latency_s is None else f"{cell.latency_s.mean:.2f}",
            "–" if cell.probability_best is None else f"{cell.probability_best:.0%}",
            _n(cell) + (f" (+{cell.failed} failed)" if cell.failed else ""),
        )
        for number, cell in enumerate(cells, start=1)
    ]
    names = ("", "measured", "quality [90 %]", "$ per 1,000", "tokens/s", "s", "P(best)", "n")
    return _table(names, rows, "rlrrrrrr")


def _others(task: TaskGuide) -> str:
    inferred = [cell for cell in task.cells if cell.state is State.INFERRED]
    unknown = [cell for cell in task.cells if cell.state is State.UNKNOWN]
    skipped = [cell for cell in task.cells if cell.state is State.SKIPPED]
    lines = []
    if inferred:
        inferred.sort(key=lambda cell: -(cell.quality.mean if cell.quality else 0.0))
        shown = "; ".join(f"{cell.model} {_quality(cell.quality)}" for cell in inferred[:_INFERRED_SHOWN])
        lines.append(f"Inferred ({len(inferred)}): {shown}{'; …' if len(inferred) > _INFERRED_SHOWN else '.'}")
    if unknown:
        lines.append(f"Unknown: {_count(len(unknown), 'model')} that nobody has scored on anything.")
    if skipped:
        reasons: dict[str, int] = {}
        for cell in skipped:
            reasons[cell.reason or ""] = reasons.get(cell.reason or "", 0) + 1
        lines.append("Skipped: " + "; ".join(f"{n} ({reason})" for reason, n in sorted(reasons.items(), key=lambda item: -item[1])) + ".")
    return "\n".join(f"- {line}" for line in lines) or "Every model of the catalogue is measured."


def _table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]], sides: str) -> str:
    marks = "|".join("---:" if side == "r" else "---" for side in sides)
    return "\n".join([_line(names), f"|{marks}|", *(_line(row) for row in rows)])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _quality(measure: Measure | None) -> str:
    return "–" if measure is None else f"{measure.mean:.3f} [{measure.low:.3f}, {measure.high:.3f}]"


def _thousand(measure: Measure | None) -> str:
    return "unknown" if measure is None else _usd(1000 * measure.mean)


def _usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 else f"${value:.3g}"


def _rate(cell: Cell) -> str:
    return "–" if cell.tokens_per_s is None else f"{cell.tokens_per_s:,.0f}"


def _n(cell: Cell) -> str:
    return "–" if cell.quality is None else f"{cell.quality.n:,}"


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in weights.items())


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"
