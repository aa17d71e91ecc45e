"""``pointsman replay``: one online pass over recorded outcomes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import money, number, print_json, print_line, print_table, progress, share

if TYPE_CHECKING:
    from router.services.replay import Trace

_SHARES = 8


def replay(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="parquet or csv: prompt_id, task_type, model, quality, ...")],
    policy: Annotated[str, typer.Option(help="thompson, linucb, greedy, epsilon_greedy, uniform or fixed (see --baseline).")] = "thompson",
    quality_weight: Annotated[float, typer.Option(help="Worth of one unit of quality.")] = 1.0,
    cost_weight: Annotated[float, typer.Option(help="Worth of the dearest model's mean cost.")] = 0.0,
    latency_weight: Annotated[float, typer.Option(help="Worth of the slowest model's mean latency.")] = 0.0,
    budget_usd_per_request: Annotated[float | None, typer.Option(help="Mean spend to stay within.")] = None,
    feedback_rate: Annotated[float, typer.Option(help="Share of decisions whose quality is told.")] = 1.0,
    exploration_quality: Annotated[float | None, typer.Option(help="Points of quality a decision may give up to learn.")] = None,
    exploration_usd: Annotated[float | None, typer.Option(help="Dollars it may spend on top to learn.")] = None,
    safe_model: Annotated[str | None, typer.Option(help="A model known to do; others take over as they prove no worse.")] = None,
    safe_shortfall: Annotated[float, typer.Option(help="Utility that a decision may be expected to fall below it.")] = 0.01,
    lying_share: Annotated[float, typer.Option(help="Share of the scores that one lying key sends.")] = 0.0,
    text: Annotated[str, typer.Option(help="off, hashed or embedding: let prompts count where that proves its worth.")] = "off",
    seed: Annotated[int, typer.Option(help="Of the order and the draws.")] = 0,
    order: Annotated[str, typer.Option(help="shuffle, or file (follows the column era).")] = "shuffle",
    baseline: Annotated[str | None, typer.Option(help="A model to compare with; what --policy fixed calls.")] = None,
    warm_per_cell: Annotated[int, typer.Option(help="Prompts per task type that every model plays first, as in a battery.")] = 0,
    trace: Annotated[Path | None, typer.Option(help="Write one JSON line per decision to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make one online pass over a table of recorded outcomes with the service's own learner: what would routing have achieved?

    Cold start; one model is revealed per prompt. utility = quality weight × quality − cost weight × cost / c_ref − latency weight ×
    latency / t_ref, where c_ref and t_ref are the means of the dearest and the slowest model of the table.
    """
    from router.services.replay import ReplayOptions
    from router.services.replay import replay as make_pass
    from router.services.texts import projection
    from router.storage.outcome_files import read_outcomes

    project = projection(text, field="text")
    options = ReplayOptions(
        policy=policy,
        quality_weight=quality_weight,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        budget_usd_per_request=budget_usd_per_request,
        feedback_rate=feedback_rate,
        exploration_quality=exploration_quality,
        exploration_usd=exploration_usd,
        safe_model=safe_model,
        safe_shortfall=safe_shortfall,
        lying_share=lying_share,
        seed=seed,
        order=order,
        text=text != "off",
        baseline=baseline,
        warm_per_cell=warm_per_cell,
    )
    if trace is not None:
        _writable(trace)
    with progress("replay") as tell:
        report, traces = make_pass(read_outcomes(table, project), options, tell)
    if trace is not None:
        _write(trace, traces)
    if as_json:
        print_json(report)
    else:
        _show(report)


def _writable(path: Path) -> None:
    """Fail before the pass, not after it.

    Raises ``TaskInvalid``.
    """
    from router.errors import TaskInvalid

    try:
        path.open("ab").close()
    except OSError as exc:
        remedy = "name a file in a folder that exists"
        raise TaskInvalid(f"the trace cannot be written ({exc.strerror})", field="trace", remedy=remedy) from exc


def _write(path: Path, traces: "list[Trace]") -> None:
    import msgspec

    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        file.writelines(encoder.encode(line) + b"\n" for line in traces)


def _show(report: dict[str, Any]) -> None:
    known = report["baselines"]
    kinds = [
        ("this pass", {k: report[f"mean_{k}"] for k in ("quality", "cost_usd", "latency_s", "utility")}),
        ("  its last quarter", report["last_quarter"]),
        ("random", known["random"]),
        (f"best single: {known['best_single']['model']}", known["best_single"]),
        ("best per task type, in hindsight", known["best_per_task"]),
        ("best per prompt, in hindsight", known["oracle"]),
    ]
    if "baseline" in known:
        kinds.insert(2, (f"baseline: {known['baseline']['model']}", known["baseline"]))
    size = f"{report['decisions']:,} decisions over {report['prompts']:,} prompts and {report['models']} models"
    rows = [(name, number(v["quality"]), _cost(v["cost_usd"]), number(v.get("latency_s"), 2), number(v["utility"])) for name, v in kinds]
    title = f"{report['policy']}, seed {report['seed']}: {size}"
    print_table(title, ("", "quality", "$ per call", "latency s", "utility"), rows, figures=range(1, 5))
    print_line()
    shares = list(report["shares"].items())
    called = [(model, share(part), number(known["singles"][model]["quality"])) for model, part in shares[:_SHARES]]
    if len(shares) > _SHARES:
        called.append((f"{len(shares) - _SHARES} others", share(sum(part for _, part in shares[_SHARES:])), ""))
    print_table("who was called", ("model", "share", "its quality on all"), called, figures=(1, 2))
    budget = report["budget"]
    if budget["limit_usd"] is not None:
        print_line(f"\nbudget {money(budget['limit_usd'])} per request: {share(budget['spent_ratio'])} of it spent")
    day = report["first_day"]
    warmed = f" after a battery of {report['warm_per_cell']} prompts per task type" if report["warm_per_cell"] else ""
    print_line(f"\nregret of the first {day['decisions']:,} decisions{warmed}: {day['regret']:.4f} utility each")
    print_line(f"\n{report['decisions_per_s']:,.0f} decisions per second")


def _cost(value: float | None) -> str:
    return "–" if value is None else money(value)
