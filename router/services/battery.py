"""Runs a test battery: every relevant pair of task type and model is called, judged and logged, once, within limits of pace and money.

Every call is a forced decision with propensity 1 whose id follows from the run and the case, committed before the provider is called.
So a run that was killed goes on where it stopped, two processes never make the same call, and what was under way when it was killed
is left alone as unknown: it may have been paid for.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.domain.battery import Battery, Pair, Unit, pairs, units
from router.domain.battery_calls import decision_id
from router.domain.battery_cost import CostEstimate, estimate_cost
from router.domain.battery_report import paid_for
from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.events import DecisionRecord
from router.errors import ConfigurationInvalid
from router.ports import Store
from router.services.battery_play import Play, Progress, Tools, judged_as, judges_of, models_asked, try_out

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A battery that is about to run, or to go on."""

    battery: Battery
    run: BatteryRun
    resumed: bool
    pairs: tuple[Pair, ...]
    todo: tuple[Unit, ...]
    done: int
    """Calls of this run that are in the log with their outcome."""
    unknown: int
    """Calls that were under way when the run was killed: they are not repeated."""
    spent_usd: float
    estimate: CostEstimate


class BatteryService:
    """Prepares and runs batteries. Lives on one event loop."""

    def __init__(self, store: Store, tools: Tools) -> None:
        self._store = store
        self._tools = tools

    async def prepare(self, battery: Battery, *, anew: bool = False) -> Prepared:
        """Say what would be called and what it would cost; writes nothing.

        The newest unfinished run of the same battery goes on unless ``anew``.
        Raises ``ModelNotFound``, ``ConfigurationInvalid`` naming what a judge cannot use, ``JudgeUnavailable``.
        """
        catalog = self._tools.catalog
        unavailable = self._tools.providers.unavailable(catalog)
        asked = {section.task_type: models_asked(judges_of(section)) for section in battery.sections}
        for section in battery.sections:
            for case in section.cases:
                judged_as(section, case)
            for model in asked[section.task_type]:
                catalog.get(model)
                if model in unavailable:
                    raise ConfigurationInvalid(
                        f"the judge {model} cannot be called", field=f"{section.task_type}.judges", remedy=unavailable[model]
                    )
        await try_out(battery)
        found = pairs(battery, catalog, unavailable)
        if all(pair.skipped is not None for pair in found):
            raise ConfigurationInvalid(
                f"no model of the battery can play: {found[0].skipped}", field="models", remedy="name models that can, or set their keys"
            )
        runs = [] if anew else await asyncio.to_thread(self._store.battery_runs)
        known = next((run for run in runs if run.digest == battery.digest and run.status is not RunStatus.DONE), None)
        new = BatteryRun(self._tools.new_id("run"), battery.name, battery.digest, battery.baseline, self._tools.clock())
        run = known or new
        records = await asyncio.to_thread(records_of, self._store, run.id) if known else []
        begun = {record.decision.id for record in records}
        todo = tuple(unit for unit in units(battery, found) if decision_id(run.id, unit) not in begun)
        outcomes = [record.outcome for record in records if record.outcome is not None]
        return Prepared(
            battery=battery,
            run=run,
            resumed=known is not None,
            pairs=found,
            todo=todo,
            done=len(outcomes),
            unknown=len(records) - len(outcomes),
            spent_usd=run.judge_usd + sum(paid_for(record) for record in records),
            estimate=estimate_cost(battery, todo, catalog, asked),
        )

    async def run(
        self,
        prepared: Prepared,
        *,
        max_usd: float,
        stop: asyncio.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Make the calls that are left, and return when everything is in the log.

        A call that might bring the run above ``max_usd`` is not made; after ``stop`` no call begins.
        Raises ``StorageUnavailable``, ``Overloaded``, ``JudgeUnavailable``.
        """
        run, stop = prepared.run, stop or asyncio.Event()
        if prepared.resumed:
            await asyncio.to_thread(self._store.change_battery_run, run.id, RunStatus.RUNNING, None)
        else:
            await self._tools.enter()
            await asyncio.to_thread(self._store.add_battery_run, run, cells_of(prepared.battery, prepared.pairs))
        progress = Progress(len(prepared.todo), spent_usd=prepared.spent_usd)
        play = Play(self._tools, prepared.battery, run, prepared.todo, progress, max_usd=max_usd, stop=stop, on_progress=on_progress)
        await play.all()
        if progress.capped:
            await asyncio.to_thread(self._store.change_battery_run, run.id, RunStatus.CAPPED, self._tools.clock())
        elif not progress.gave_up and not stop.is_set():
            await asyncio.to_thread(self._store.change_battery_run, run.id, RunStatus.DONE, self._tools.clock())
        return progress


def records_of(store: Store, run_id: str) -> list[DecisionRecord]:
    """Every call of a run, as the log tells it, oldest first."""
    found: list[DecisionRecord] = []
    before: int | None = None
    while page := store.decisions(before_seq=before, limit=_PAGE, episode_id=run_id):
        found += page
        before = page[-1].seq
    return found[::-1]


def cells_of(battery: Battery, found: Sequence[Pair]) -> list[BatteryCell]:
    """What a run plans."""
    cells = []
    for pair in found:
        section = battery.section(pair.task_type)
        calls = 0 if pair.skipped is not None else len(section.cases) * battery.repetitions
        cells.append(BatteryCell(pair.task_type, pair.model, calls, section.agents, pair.skipped))
    return cells
