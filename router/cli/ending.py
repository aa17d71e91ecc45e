"""How the demo ends: the rules that emerged beside the truth, where the traffic went, what it saved, where to look next."""

from collections.abc import Mapping, Sequence
from typing import Any

from router.cli.output import money, number, print_line, print_table, share
from router.demo.display import short

_KINDS = (
    ("routed", "routed by what was learned"),
    ("routed_last_quarter", "  its last quarter"),
    ("best_quality_single", "all on the best single model"),
    ("best_utility_single", "all on the best single model for the money"),
    ("dearest_single", "all on the dearest model"),
    ("random", "at random"),
    ("best_per_task_type", "best model per task type, in hindsight"),
)


def print_report(report: Mapping[str, Any]) -> None:
    """For people; every figure is the report's."""
    feedback = report["feedback"]
    print_line()
    if report["interrupted"]:
        print_line("interrupted: this is what was learned so far")
    print_line(
        f"{report['decisions']:,} tasks routed over HTTP in {report['seconds']:.0f} s; {feedback['given']:,} answers scored, "
        f"{feedback['late']:,} of them late, {feedback['corrected']:,} corrected, {feedback['retracted']:,} retracted; "
        f"{feedback['never']:,} never scored; {report['failed_calls']:,} calls failed"
    )
    if not report["comparison"]:
        return
    print_line()
    _rules(report)
    _changes(report["changes"])
    _comparison(report)
    _next(report)


def _rules(report: Mapping[str, Any]) -> None:
    rules: Sequence[Mapping[str, Any]] = report["rules"]
    recorded = report["mode"] == "table"
    true, best = ("table's mean", "best in the table") if recorded else ("true", "truly best for the money")
    columns = ("task type", "preferred model", "learned quality [90 %]", "n", true, "status", best)
    rows = [
        (
            rule["task_type"],
            short(rule["recommended"] or "–"),
            _interval(rule["quality"]),
            f"{rule['n']:,}",
            number(rule["true_quality"]),
            rule["status"],
            _best(rule),
        )
        for rule in rules
    ]
    print_table("the rules that emerged, beside the truth", columns, rows, figures=(2, 3, 4))
    checked = [rule for rule in rules if rule["quality"] is not None and rule["true_quality"] is not None]
    inside = sum(rule["quality"]["low"] <= rule["true_quality"] <= rule["quality"]["high"] for rule in checked)
    same = sum(rule["true_best"] == rule["recommended"] for rule in checked)
    level = sum(rule["utility_lost"] is not None and rule["utility_lost"] <= 0.01 for rule in checked)
    print_line(
        f"Of {len(checked)} rules {same} name the truly best model and {level} one within 0.01 of it; "
        f"{inside} of {len(checked)} intervals hold the truth."
    )
    if recorded:
        print_line("Check a rule against the table: mean of quality over the rows of its task type and model.")


def _changes(changes: Sequence[Mapping[str, Any]]) -> None:
    if not changes:
        return
    print_line()
    for change in changes:
        print_line(
            f"After {change['at_decision']:,} tasks {change['text']}; "
            f"its share of the traffic went from {share(change['share_before'])} to {share(change['share_last'])} in the last quarter."
        )


def _comparison(report: Mapping[str, Any]) -> None:
    known = report["comparison"]
    rows: list[tuple[str, ...]] = []
    named: set[str] = set()
    for key, name in _KINDS:
        means = known.get(key)
        model = means and means.get("model")
        if means is None or model in named:
            continue
        named |= {model} if model else set()
        per_1000 = "–" if means["cost_usd"] is None else money(1000 * means["cost_usd"])
        name = f"{name}: {short(model)}" if model else name
        rows.append((name, number(means["quality"]), per_1000, _seconds(means), number(means["utility"])))
    print_line()
    print_table("on the same tasks", ("", "true quality", "$ per 1,000", "latency", "utility"), rows, figures=range(1, 5))
    routed, single = known["routed"], known.get("best_quality_single")
    if single and routed["cost_usd"] is not None and single["cost_usd"]:
        spent, instead = (means["cost_usd"] * report["decisions"] for means in (routed, single))
        saved = instead - spent
        word = "saved" if saved >= 0 else "cost"
        against = f"{word} {money(abs(saved))} ({share(abs(saved) / instead)}) of {money(instead)} against all on {single['model']}"
        gap = routed["quality"] - single["quality"]
        print_line(f"Routing {against}, at a true quality of {routed['quality']:.3f} instead of {single['quality']:.3f} ({gap:+.3f}).")


def _next(report: Mapping[str, Any]) -> None:
    print_line("\nWhere to look next")
    if report["dashboard_url"]:
        print_line(f"  the dashboard, still up: {report['dashboard_url']}  (API reference: {report['dashboard_url']}docs)")
    else:
        print_line("  all of this in the dashboard: make demo ARGS=--keep")
    print_line(f"  every decision, with the propensity it was drawn with, and all feedback: {report['database']}")
    print_line(f"  the same database as a service: pointsman serve --database-url sqlite:///{report['database']}")
    table = report["table"] or "TABLE"
    print_line(f"  what other weights and policies would have given on recorded outcomes: pointsman replay {table} --cost-weight 0.3")


def _best(rule: Mapping[str, Any]) -> str:
    """The model that the truth prefers, its quality, and how much more utility it gives."""
    if rule["true_best"] is None or rule["true_best"] == rule["recommended"]:
        return "the same"
    lost = "" if rule["utility_lost"] is None else f", {rule['utility_lost']:+.3f} utility"
    return f"{short(rule['true_best'])} ({number(rule['true_best_quality'])}{lost})"


def _interval(quality: Mapping[str, float] | None) -> str:
    return "–" if quality is None else f"{quality['mean']:.3f} [{quality['low']:.3f}, {quality['high']:.3f}]"


def _seconds(means: Mapping[str, Any]) -> str:
    return "–" if means["latency_s"] is None else f"{means['latency_s']:.1f} s"
