"""One run of the demo: start the service, let the callers call, change the world half-way, and report."""

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from router.config import Settings
from router.demo import changes, report
from router.demo.display import Row, Screen, State
from router.demo.driver import Driver, Habits
from router.demo.report import Change
from router.demo.service import Caller, CallRefused, model_path, serving, settled
from router.demo.tally import Sums, Tally, Worth
from router.demo.workload import ScriptedWorkload, TableWorkload, Workload
from router.domain.catalog import load_shipped
from router.domain.models import Price
from router.domain.tasks import Weights

REQUESTS = 6_000
_SCRIPTED_HABITS = Habits(scored=0.6, mistaken=0.02, retracted=0.01)
_TABLE_HABITS = Habits(scored=1.0)
_WEIGHTS = Weights(quality=1.0, cost=0.05, latency=0.03)
"""Of the scripted demo: a cent is worth 0.05 of quality, ten seconds 0.03."""
_TABLE_WEIGHTS = Weights(quality=1.0, cost=0.0, latency=0.0)
"""Quality alone, so that a rule can be checked against the table's means."""
_REDRAW_S, _POLICY_S = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    table: Path | None = None
    database: Path | None = None
    seed: int = 0
    requests: int | None = None
    keep: bool = False


@dataclass(slots=True)
class _Stage:
    """The running parts."""

    address: str
    caller: Caller
    workload: Workload
    driver: Driver
    started: float
    changes: list[Change]


def run(options: Options, screen: Screen, finished: Callable[[dict[str, Any]], None]) -> None:
    """Run the demo; ``finished`` gets the report, before the service ends.

    An interrupt ends it early with what was learned so far; a second one ends it at once.
    Raises ``TaskInvalid``, ``ConfigurationInvalid``, ``StorageUnavailable``, ``CallRefused``.
    """
    with _folder(options) as folder, _interrupts() as interrupted:
        database = (options.database or folder / "demo.db").resolve()
        weights = _WEIGHTS if options.table is None else _TABLE_WEIGHTS
        screen.say(f"starting the service on {database}")
        started = time.monotonic()
        with serving(_settings(options, weights, database, folder), folder) as address:
            caller = Caller(address)
            workload: Workload = _scripted(options, caller) if options.table is None else _recorded(options, options.table, caller)
            tally = Tally(Worth(weights, _default("cost_reference_usd"), _default("latency_reference_s")))
            habits = _SCRIPTED_HABITS if options.table is None else _TABLE_HABITS
            driver = Driver(address, workload, tally, habits, seed=options.seed)
            stage = _Stage(address, caller, workload, driver, started, [])
            screen.say(f"{len(workload.jobs):,} tasks for {len(workload.models)} models over HTTP at {address}")
            screen.say(f"watch them in the dashboard: {address}/")
            try:
                _drive(stage, screen, interrupted)
            finally:
                screen.close()
            finished(_report(stage, options, database, interrupted.is_set()))
            if options.keep and not interrupted.is_set():
                screen.say(f"the dashboard is at {address}/ until Ctrl-C")
                interrupted.wait()
            caller.close()


def _settings(options: Options, weights: Weights, database: Path, folder: Path) -> dict[str, Any]:
    """The service's settings. Models that the demo does not play are retired by a catalogue file, not in the database."""
    played = () if options.table is not None else ScriptedWorkload(0, 0, {}, {}).world.models
    retired = [{"id": model.id, "retired": True} for model in load_shipped() if model.id not in played]
    catalog = folder / "catalog.json"
    catalog.write_text(json.dumps({"models": retired}), "utf-8")
    return {
        "database_url": f"sqlite:///{database}",
        "catalog_file": str(catalog),
        "weight_quality": weights.quality,
        "weight_cost": weights.cost,
        "weight_latency": weights.latency,
        "salt": f"pointsman demo {options.seed:016d}",
        "log_level": "warning",
    }


def _default(name: str) -> float:
    return float(Settings.model_fields[name].default)


def _scripted(options: Options, caller: Caller) -> ScriptedWorkload:
    models = caller.call("GET", "/v1/models")["data"]
    prices = {m["id"]: Price(m["price"]["input_usd_per_mtok"], m["price"]["output_usd_per_mtok"]) for m in models if m["price"] is not None}
    windows = {m["id"]: m["context_window"] for m in models}
    return ScriptedWorkload(options.requests or REQUESTS, options.seed, prices, windows)


def _recorded(options: Options, path: Path, caller: Caller) -> TableWorkload:
    from router.storage.outcome_files import read_outcomes  # here: it loads pyarrow

    workload = TableWorkload(read_outcomes(path), options.requests, options.seed)
    for body in workload.additions():
        try:
            caller.call("POST", "/v1/models", body)
        except CallRefused as exc:
            if exc.status != 409:
                raise
            facts = {name: value for name, value in body.items() if name != "id"}
            caller.call("PATCH", model_path(body["id"]), {"price": None, **facts, "retired": False})
    return workload


def _drive(stage: _Stage, screen: Screen, interrupted: threading.Event) -> None:
    driver, half = stage.driver, len(stage.workload.jobs) // 2
    policy: dict[str, Any] = {}
    policy_due = 0.0
    driver.start()
    while driver.running:
        if interrupted.wait(_REDRAW_S):
            driver.stop()
            break
        if not stage.changes and driver.counts.decisions >= half:
            stage.changes += _change_world(stage)
        if time.monotonic() >= policy_due:
            policy = {row["task_type"]: row for row in stage.caller.call("GET", "/v1/policy")["task_types"]}
            policy_due = time.monotonic() + _POLICY_S
        screen.show(_state(stage, policy))
    driver.join()
    screen.show(_state(stage, policy))


def _change_world(stage: _Stage) -> list[Change]:
    if not isinstance(stage.workload, ScriptedWorkload):
        return []
    worse = changes.degrade(stage.driver, stage.workload)
    cheaper = changes.cut_price(stage.driver, stage.workload, stage.caller, spare=worse.model if worse else None)
    return [change for change in (worse, cheaper) if change is not None]


def _state(stage: _Stage, policy: dict[str, Any]) -> State:
    driver, tally = stage.driver, stage.driver.tally
    with driver.lock:
        counts = driver.counts
        rows = [Row(name, n, tally.leaders(name), policy.get(name)) for name, n in tally.by_type.items()]
        known = report.comparison(tally, stage.workload).get("best_quality_single")
        return State(
            done=counts.decisions,
            total=len(stage.workload.jobs),
            seconds=time.monotonic() - stage.started,
            feedback=counts.feedback,
            late=counts.late,
            amended=counts.corrected + counts.retracted,
            routed=Sums().merge(tally.total),
            baseline=known["model"] if known else None,
            baseline_sums=tally.single(known["model"]) if known else Sums(),
            rows=rows,
            events=[change.text for change in stage.changes],
        )


def _report(stage: _Stage, options: Options, database: Path, interrupted: bool) -> dict[str, Any]:
    settled(stage.caller)
    policy = stage.caller.call("GET", "/v1/policy")
    mode = "scripted" if options.table is None else "table"
    made = report.build(stage.driver, stage.workload, policy, stage.changes, mode=mode, started=stage.started)
    return {
        **made,
        "requests": len(stage.workload.jobs),
        "seed": options.seed,
        "interrupted": interrupted,
        "table": None if options.table is None else str(options.table),
        "database": str(database),
        "dashboard_url": f"{stage.address}/" if options.keep else None,
    }


@contextmanager
def _folder(options: Options) -> Iterator[Path]:
    """Where the database goes that nobody named: it is left for the reader. With a named one, only logs go here."""
    if options.database is None:
        yield Path(tempfile.mkdtemp(prefix="pointsman-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="pointsman-demo-") as folder:
        yield Path(folder)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C; the second one is an ordinary one."""
    asked = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
