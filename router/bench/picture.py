"""Draws regret against decisions: one line per policy with its interval over seeds."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from router.errors import TaskInvalid


def ready(path: Path) -> None:
    """Fail before the measurement, not after it.

    Raises ``TaskInvalid`` where the picture cannot be drawn or written.
    """
    if find_spec("matplotlib") is None:
        raise TaskInvalid("a picture needs matplotlib", field="picture", remedy='pip install matplotlib, or "pointsman[notebooks]"')
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in kinds:
        raise TaskInvalid("a picture cannot have this ending", field="picture", remedy=f"use one of {', '.join(kinds)}")
    try:
        path.open("ab").close()
    except OSError as exc:
        remedy = "name a file in a folder that exists"
        raise TaskInvalid(f"the picture cannot be written ({exc.strerror})", field="picture", remedy=remedy) from exc


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Write the curves of a report of ``router.bench.learning``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    ranked = sorted(report["policies"], key=lambda policy: policy["regret"].mean)
    lines = [(policy["name"], policy["curve"]) for policy in ranked]
    for name, curve in lines:
        _line(axes, name, curve, bold=name == report["reference"])
    _line(axes, "best single model, in hindsight", report["best_single_curve"], dashed=True)
    axes.set_xlabel("decisions")
    axes.set_ylabel("utility given up so far")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    size = f"{report['models']} models, {report['prompts']:,} prompts, {report['seeds']} orders"
    interval = " with 95 % intervals" if report["seeds"] > 1 else ""
    axes.set_title(f"against the best model per task type in hindsight: {size}{interval}", fontsize="medium")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def _line(axes: Any, name: str, curve: Sequence[Mapping[str, Any]], *, bold: bool = False, dashed: bool = False) -> None:
    x = [point["decisions"] for point in curve]
    mean = [point["regret"].mean for point in curve]
    (line,) = axes.plot(x, mean, label=name, linewidth=2.4 if bold else 1.4, linestyle="--" if dashed else "-", zorder=3 if bold else 2)
    if curve[0]["regret"].low is not None:
        low, high = ([getattr(point["regret"], end) for point in curve] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
