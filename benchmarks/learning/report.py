"""The tables, the picture and the JSON file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.learning.contenders import CONTENDERS
from benchmarks.learning.contenders.registry import version
from benchmarks.learning.intervals import paired
from benchmarks.learning.measures import HINDSIGHT, Scores, fixed_rules, hull, singles, task_mix
from benchmarks.learning.problems import stream_of
from benchmarks.learning.verdicts import US, Board, Verdict, label


def print_tables(console: Console, board: Board) -> None:
    """One table per cell: everyone's mean and the paired difference of Pointsman to them."""
    for cell, scores in board:
        if US not in scores or cell.section == "false alarms":
            continue
        console.print(_table(label(cell), scores, cell.problem.budget is not None))


def _table(title: str, scores: Mapping[str, Scores], budget: bool) -> Table:
    metric = "quality" if budget else "utility"
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("contender")
    for name in ("seeds", "quality", "cost $", metric, "last quarter"):
        table.add_column(name, justify="right")
    table.add_column(f"pointsman - it, {metric} [95 %]", justify="right")
    table.add_column("ms", justify="right")
    ours = scores[US]
    order = sorted(scores, key=lambda n: (n in HINDSIGHT, -float(scores[n][metric].mean())))
    for name in order:
        it = scores[name]
        gap = None if name == US else paired(ours[metric], it[metric])
        style = "bold" if name == US else "dim" if name in HINDSIGHT else "red" if gap is not None and gap.mean <= 0 else ""
        table.add_row(
            name,
            str(it.seeds),
            f"{it['quality'].mean():.4f}",
            "-" if math.isnan(it["cost_usd"].mean()) else f"{it['cost_usd'].mean():.3g}",
            f"{it[metric].mean():.4f}",
            f"{it['last_' + metric].mean():.4f}",
            "" if gap is None else escape(str(gap)),
            "" if math.isnan(it.ms_per_decision) else f"{it.ms_per_decision:.2f}",
            style=style,
        )
    return table


def print_verdicts(console: Console, found: list[Verdict]) -> None:
    """One line per promise."""
    for verdict in found:
        colour = {True: "green", False: "red", None: "yellow"}[verdict.reached]
        console.print(f"[{colour}]{escape(str(verdict))}[/]", highlight=False, soft_wrap=True)


def write_json(path: Path, board: Board, found: list[Verdict], about: dict[str, Any]) -> None:
    """Everything but the single choices."""
    cells = [
        {
            "label": label(cell),
            "section": cell.section,
            "problem": {**asdict(cell.problem), "table": cell.problem.name},
            "scores": {
                name: {
                    "seeds": it.seeds,
                    "ms_per_decision": None if math.isnan(it.ms_per_decision) else it.ms_per_decision,
                    "values": {m: [None if math.isnan(v) else v for v in it[m].tolist()] for m in it.values},
                    "pointsman_minus": None
                    if US not in scores or name == US
                    else {m: _plain(scores[US], it, m) for m in ("quality", "utility", "last_utility")},
                }
                for name, it in scores.items()
            },
        }
        for cell, scores in board
    ]
    contenders = {c.name: {"note": c.note, "package": c.package, "seeds": c.seeds} for c in CONTENDERS}
    verdicts = [asdict(v) for v in found]
    path.write_text(json.dumps({"about": about, "contenders": contenders, "verdicts": verdicts, "cells": cells}, indent=1) + "\n")


def _plain(ours: Scores, it: Scores, metric: str) -> dict[str, Any]:
    gap = paired(ours[metric], it[metric])
    return {k: (v if math.isfinite(v) else None) for k, v in asdict(gap).items()}


def versions() -> dict[str, str]:
    """Installed peers."""
    found = {}
    for c in CONTENDERS:
        if c.package is not None and c.package not in found:
            try:
                found[c.package] = version(c)
            except ModuleNotFoundError:
                found[c.package] = "absent"
    return found


def draw(path: Path, board: Board) -> bool:
    """Cost against quality for every table with budgets; False without matplotlib."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ModuleNotFoundError:
        return False
    names = sorted({c.problem.name for c, _ in board if c.problem.budget is not None})
    if not names:
        return False
    figure, axes = plt.subplots(1, len(names), figsize=(5.6 * len(names), 4.6), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        _panel(axis, name, [(c, s) for c, s in board if c.problem.name == name])
    axes[0][0].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True


def _panel(axis: Any, name: str, board: Board) -> None:
    budgeted = [(c, s) for c, s in board if c.problem.budget is not None]
    stream = stream_of(budgeted[0][0].problem, 0)
    cost, quality = singles(stream)
    axis.scatter(cost, quality, s=14, color="0.6", label="single models")
    rules = fixed_rules(stream)
    grid = np.geomspace(np.nanmin(cost), np.nanmax(cost), 60)
    axis.plot(grid, [hull(*rules, c) for c in grid], color="0.6", lw=1, label="their hull")
    axis.plot(grid, [task_mix(stream, c) for c in grid], color="0.6", lw=1, ls=":", label="best mix per task type, hindsight")
    for who, colour in ((US, "C3"), ("paretobandit", "C0"), ("paretobandit pacer", "C9"), ("paretobandit warm", "C2")):
        points = [(s[who]["cost_usd"].mean(), s[who]["quality"].mean()) for _, s in budgeted if who in s]
        if points:
            axis.plot(*zip(*sorted(points), strict=True), marker="o", ms=4, color=colour, label=f"{who}, budgets")
    weighed = [(c, s) for c, s in board if c.section == "stationary" and US in s]
    points = [(s[US]["cost_usd"].mean(), s[US]["quality"].mean()) for _, s in weighed]
    if points:
        axis.scatter(*zip(*points, strict=True), marker="*", s=60, color="C3", label="pointsman, cost weights")
    axis.set(xscale="log", xlabel="mean cost per request, USD", ylabel="mean quality over the pass", title=name)
