"""``pointsman bench``: what this machine, this database and this table of outcomes give."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import money, number, print_json, print_line, print_table, progress, share
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.bench.restart import Restart
    from router.bench.waits import Pace
    from router.config import Settings

app = typer.Typer(
    help="Measure this machine, its database, or a table of outcomes. Nothing is sent anywhere, and no data of yours is touched.",
    no_args_is_help=True,
)

Durability = Annotated[str | None, typer.Option(help="full (survives power loss) or normal (survives a killed process).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DURABILITY = {
    "full": "what is counted as durable survives power loss",
    "normal": "what is counted as durable survives a killed process, and no power loss",
    "none": "nothing survives the process",
}


@app.command()
def routing(
    models: Annotated[int | None, typer.Option(help="Active models, the first of the catalogue; all unless given.")] = None,
    callers: Annotated[str, typer.Option(help="How many wait for an answer at the same time, with commas between.")] = "1,64",
    seconds: Annotated[float, typer.Option(help="For each figure.")] = 3.0,
    database_url: DatabaseUrl = None,
    durability: Durability = None,
    as_json: Json = False,
) -> None:
    """Decisions per second and their latency, with the log durable, beside the raw limit of the same database.

    The service's own routing and log under your settings, in this process, on a temporary database that is removed at the end (also on
    Ctrl-C): a file in the folder of the configured one, or a database of the same PostgreSQL server. Requests over HTTP cost more:
    'make bench-route' in a source checkout measures them beside a bare web framework.
    """
    from router.bench.routing import RoutingPlan, measure

    settings = _settings(database_url, durability)
    with _ended_in_order(), progress("bench routing") as tell:
        report = measure(settings, RoutingPlan(models, _numbers(callers), seconds), tell)
    if as_json:
        print_json(report)
        return
    _about(report)
    print_line(
        f"{report['models']:.0f} models eligible per decision on average, {report['task_types']} task types, policy {report['policy']}\n"
    )
    rows = [_pace("decide", None, report["decide"], None)]
    for turn in report["by_callers"]:
        rows += [
            _pace(name, turn["callers"], turn[name], turn.get(f"{name}_share_of_raw")) for name in ("route", "log", "raw") if turn[name]
        ]
    columns = ("", "callers", "per second", "p50 ms", "p95 ms", "p99 ms", "CPU µs each", "rows a commit", "of raw")
    print_table(f"{report['seconds']:g} s for each figure", columns, rows, figures=range(1, 9))
    print_line("\ndecide  a decision in memory, nothing logged: what bounds a core")
    print_line("route   the same, returned once it is durable: what a caller in this process waits for")
    print_line("log     a ready-made decision through the log's writer, which commits what waits together: what durability takes of that")
    if not settings.in_memory:
        print_line("raw     the database's driver alone: the same rows in groups of the same size, one commit each")


@app.command()
def fold(
    records: Annotated[int, typer.Option(help="Log records: a decision, its outcome and its score are three.")] = 100_000,
    database_url: DatabaseUrl = None,
    durability: Durability = None,
    as_json: Json = False,
) -> None:
    """How long a restart takes over a log of so many records, and in how much memory: from a snapshot, and from the log's start.

    Services keep snapshots and start from the newest; one that has none, or other settings of the learner, folds the log from its start.
    The log is made in a temporary database, as for 'bench routing'; it takes about 1.7 kB a record for that while.
    """
    from router.bench.fold import measure

    settings = _settings(database_url, durability)
    with _ended_in_order(), progress("bench fold") as tell:
        report = measure(settings, records, tell)
    if as_json:
        print_json(report)
        return
    _about(report)
    print_line(f"a log of {report['records']:,} records, {report['bytes_per_record'] / 1000:.1f} kB each with indexes\n")
    kinds = (("over an empty log", "empty"), ("from the newest snapshot", "from_snapshot"), ("from the log's start", "from_start"))
    empty: Restart = report["empty"]
    rows = [_restart(name, report[kind], empty) for name, kind in kinds]
    print_table("a start of the service", ("", "seconds", "CPU s", "peak MB", "more than empty"), rows, figures=range(1, 5))
    print_line("\nseconds: from the start of the process, its imports included, until it can decide")
    folded = report["fold"]
    print_line(
        f"the fold alone, reading included: {folded.per_s:,.0f} records per second ({folded.seconds:.2f} s, {folded.cpu_s:.2f} s of CPU)"
    )
    if report["same"]:
        print_line("what was learned is the same in all of them, to the last bit")
    else:
        print_line("WHAT WAS LEARNED DIFFERS between them: please report this")


@app.command()
def learning(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="parquet or csv: prompt_id, task_type, model, quality, ...")],
    seeds: Annotated[int | None, typer.Option(help="Orders of the table to play, the same for every policy; 10 unless given.")] = None,
    quality_weight: Annotated[float, typer.Option(help="Worth of one unit of quality.")] = 1.0,
    cost_weight: Annotated[float, typer.Option(help="Worth of the dearest model's mean cost.")] = 0.0,
    latency_weight: Annotated[float, typer.Option(help="Worth of the slowest model's mean latency.")] = 0.0,
    feedback_rate: Annotated[float, typer.Option(help="Share of decisions whose quality is told.")] = 1.0,
    policies: Annotated[str | None, typer.Option(help="With commas between, thompson among them; all that ship unless given.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The model that 'fixed' calls; the dearest unless given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="3 seeds, and the first 1,500 decisions of each.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one per processor unless given.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the regret over the decisions into this file (needs matplotlib).")] = None,
    as_json: Json = False,
) -> None:
    """How fast each policy that ships learns on your recorded outcomes, over several orders of them, beside hindsight.

    Every pass is one of 'pointsman replay', from a cold start; every policy meets the same orders and is told the same scores, so that
    their differences have tight intervals. Other libraries' learners (Vowpal Wabbit, MABWiser, ...) need packages of their own:
    'make bench-learning' in a source checkout plays them on the same streams.
    """
    from router.bench.learning import QUICK_DECISIONS, QUICK_SEEDS, LearningPlan, measure
    from router.bench.picture import draw, ready
    from router.bench.service import cpus
    from router.services.replay import ReplayOptions

    options = ReplayOptions(
        quality_weight=quality_weight,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        feedback_rate=feedback_rate,
        baseline=baseline,
        decisions=QUICK_DECISIONS if quick else None,
    )
    plan = LearningPlan(options, seeds=seeds if seeds is not None else QUICK_SEEDS if quick else 10, workers=workers or cpus())
    if policies is not None:
        plan = replace(plan, policies=[name.strip() for name in policies.split(",")])
    if picture is not None:
        ready(picture)
    with _ended_in_order(), progress("bench learning: passes") as tell:
        report = measure(table, plan, tell)
    if picture is not None:
        draw(picture, report)
    if as_json:
        print_json(report)
    else:
        _show_learning(report)


def _settings(database_url: str | None, durability: str | None) -> "Settings":
    from router import config, telemetry

    telemetry.configure("error", "console")  # what is found in made-up evidence, e.g. an incident, is no news
    given = {"database_url": database_url, "durability": durability}
    return config.load(**{name: value for name, value in given.items() if value is not None})


def _numbers(text: str) -> Sequence[int]:
    from router.errors import TaskInvalid

    try:
        return [int(part) for part in text.split(",")]
    except ValueError as exc:
        raise TaskInvalid("callers must be whole numbers with commas between", field="callers", remedy="e.g. --callers 1,64") from exc


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends a measurement as Ctrl-C does, so that what is temporary goes in any case: also where a shell has Ctrl-C ignored."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _machine(report: Mapping[str, Any]) -> None:
    print_line(f"pointsman {report['release']}, Python {report['python']}, {report['system']}, {report['cpus']} CPUs")


def _about(report: Mapping[str, Any]) -> None:
    _machine(report)
    print_line(f"{report['database']}, temporary; durability {report['durability']}: {_DURABILITY[report['durability']]}")


def _pace(name: str, callers: int | None, pace: "Pace", of_raw: float | None) -> Sequence[str]:
    return (
        name,
        "" if callers is None else f"{callers:,}",
        f"{pace.per_s:,.0f}",
        number(pace.p50_ms, 2),
        number(pace.p95_ms, 2),
        number(pace.p99_ms, 2),
        f"{pace.cpu_us:,.0f}",
        "" if pace.rows_per_commit is None else f"{pace.rows_per_commit:.1f}",
        "" if of_raw is None else share(of_raw),
    )


def _restart(name: str, start: "Restart", empty: "Restart") -> Sequence[str]:
    more = "" if start is empty else f"{start.seconds - empty.seconds:+.2f} s, {start.peak_mb - empty.peak_mb:+.0f} MB"
    return (name, f"{start.seconds:.2f}", f"{start.cpu_s:.2f}", f"{start.peak_mb:.0f}", more)


_KINDS = {
    "random": "at random",
    "best_single": "best single model, in hindsight",
    "best_per_task": "best per task type, in hindsight",
    "oracle": "best per prompt, in hindsight",
}


def _show_learning(report: Mapping[str, Any]) -> None:
    from router.services.replay import FIRST_DAY

    weights = ", ".join(f"{kind} {weight:g}" for kind, weight in report["weights"].items() if weight)
    _machine(report)
    print_line(
        f"{report['prompts']:,} prompts on {report['models']} models, {report['seeds']} orders of {report['decisions']:,} decisions;"
        f" weights: {weights}; {share(report['feedback_rate'])} of the scores told\n"
    )
    rows = [_policy(policy, report) for policy in sorted(report["policies"], key=lambda policy: -policy["utility"].mean)]
    rows += [_yardstick(_KINDS[yard["name"]], yard) for yard in report["hindsight"]]
    reference, first = report["reference"], f"first {min(FIRST_DAY, report['decisions']):,}"
    columns = ("", "quality", "$ per call", "utility", f"beside {reference} [95 %]", "last quarter", "regret", first, "decisions/s")
    print_table("means over the orders", columns, rows, figures=range(1, 9))
    print_line(f"\nbeside {reference}: utility more than {reference}'s on the same orders; an interval that holds 0 tells no difference")
    print_line("last quarter: utility of the last quarter of the pass; the hindsight of the whole pass does not know it")
    print_line(f"regret: utility given up per decision against the best model per task type in hindsight; {first}: by those decisions")


def _policy(policy: Mapping[str, Any], report: Mapping[str, Any]) -> Sequence[str]:
    name = f"fixed: {report['fixed']}" if policy["name"] == "fixed" else policy["name"]
    last, regret, first = policy["last_quarter_utility"], policy["regret"], policy["first_day_regret"]
    return (
        *_yardstick(name, policy)[:5],
        f"{last.mean:.4f}",
        f"{regret.mean:.4f}",
        f"{first.mean:.4f}",
        f"{policy['decisions_per_s']:,.0f}",
    )


def _yardstick(name: str, yard: Mapping[str, Any]) -> Sequence[str]:
    cost, beside = yard["cost_usd"], yard["utility_beside_reference"]
    told = "" if beside is None else f"{beside.mean:+.4f}"
    if beside is not None and beside.low is not None:
        told += f" [{beside.low:+.4f}, {beside.high:+.4f}]"
    cents = "–" if cost is None else money(cost.mean)
    return (name, f"{yard['quality'].mean:.4f}", cents, f"{yard['utility'].mean:.4f}", told, "", "", "", "")
