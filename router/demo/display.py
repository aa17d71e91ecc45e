"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router.demo.tally import Sums


def short(model_id: str) -> str:
    """A model's name without its provider and owner."""
    return model_id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One task type."""

    task_type: str
    decisions: int
    leaders: Sequence[tuple[str, float]]
    learned: Mapping[str, Any] | None
    """The preference as ``GET /v1/policy`` tells it."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything on the screen."""

    done: int
    total: int
    seconds: float
    feedback: int
    late: int
    amended: int
    routed: Sums
    baseline: str | None
    """The single model with the best quality."""
    baseline_sums: Sums
    rows: Sequence[Row]
    events: Sequence[str] = field(default=())


class Screen(Protocol):
    """Where progress goes."""

    def say(self, text: str) -> None:
        """One line of its own."""
        ...

    def show(self, state: State) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """A line now and then."""

    def __init__(self, console: Console, every_s: float = 5.0) -> None:
        self._console = console
        self._every_s = every_s
        self._next = 0.0
        self._told = 0

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, state: State) -> None:
        for event in state.events[self._told :]:
            self.say(f"  event: {event}")
        self._told = len(state.events)
        if time.monotonic() < self._next and state.done < state.total:
            return
        self._next = time.monotonic() + self._every_s
        self.say(_headline(state))

    def close(self) -> None:
        """Nothing is held open."""


class LiveScreen:
    """A table that is redrawn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._started = False

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def show(self, state: State) -> None:
        if not self._started:
            self._live.start()
            self._started = True
        room = max(5, self._console.height - 8 - len(state.events))
        self._live.update(Group(_bar(state), _money(state), *_events(state), _table(state, room)), refresh=True)

    def close(self) -> None:
        if self._started:
            self._live.stop()
            self._started = False


def _headline(state: State) -> str:
    parts = [f"{state.done:,} of {state.total:,} routed", f"{state.feedback:,} scored ({state.late:,} late, {state.amended:,} amended)"]
    if state.routed.n:
        parts.append(_spent(state))
    return f"{state.seconds:5.0f} s  " + " · ".join(parts)


def _spent(state: State) -> str:
    routed = state.routed
    mine = f"quality {routed.quality / routed.n:.3f}" + (f" for ${routed.cost:,.2f}" if routed.priced else "")
    other = state.baseline_sums
    if state.baseline is None or not other.n:
        return mine
    theirs = f"{other.quality / other.n:.3f}" + (f" for ${other.cost:,.2f}" if other.priced else "")
    return f"{mine}; all on {short(state.baseline)}: {theirs}"


def _bar(state: State) -> Text:
    width = 30
    full = round(width * state.done / max(1, state.total))
    text = Text("pointsman learns  ", style="bold")
    text.append("█" * full + "░" * (width - full), style="cyan")
    text.append(f"  {state.done:,} of {state.total:,} routed · {state.feedback:,} scored, {state.late:,} of them late")
    return text.append(f", {state.amended:,} amended · {state.seconds:.0f} s")


def _money(state: State) -> Text:
    return Text(_spent(state) if state.routed.n else "starting", style="green")


def _events(state: State) -> list[Text]:
    return [Text(f"half-way: {event}", style="yellow") for event in state.events]


def _table(state: State, room: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, right in (("task type", False), ("tasks", True), ("latest calls go to", False), ("preferred: quality [90 %]", False)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in sorted(state.rows, key=lambda row: -row.decisions)[:room]:
        leaders = " · ".join(f"{short(model)[:26]} {share:.0%}" for model, share in row.leaders)
        table.add_row(row.task_type, f"{row.decisions:,}", leaders, *_learned(row))
    return table


def _learned(row: Row) -> tuple[str, str]:
    if row.learned is None or row.learned["recommended"] is None:
        return "–", ""
    best = next(model for model in row.learned["models"] if model["model"] == row.learned["recommended"])
    quality = best["quality"]
    return f"{short(best['model'])[:26]}: {quality['mean']:.2f} [{quality['low']:.2f}, {quality['high']:.2f}]", row.learned["status"]
