"""Battery runs and their cells, as rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.storage.tables import battery_cells, battery_runs


def add(connection: Connection, run: BatteryRun, cells: Sequence[BatteryCell]) -> None:
    """Keep a new run and its cells."""
    connection.execute(
        insert(battery_runs),
        {
            "id": run.id,
            "name": run.name,
            "digest": run.digest,
            "baseline": run.baseline,
            "started_at": run.started_at,
            "status": run.status.value,
            "ended_at": run.ended_at,
            "judge_usd": run.judge_usd,
        },
    )
    if cells:
        connection.execute(
            insert(battery_cells),
            [
                {
                    "run_id": run.id,
                    "position": position,
                    "task_type": cell.task_type,
                    "model": cell.model,
                    "calls": cell.calls,
                    "agents": cell.agents,
                    "skipped": cell.skipped,
                }
                for position, cell in enumerate(cells)
            ],
        )


def change(connection: Connection, run_id: str, status: RunStatus, ended_at: float | None) -> None:
    """Say where a run stands."""
    connection.execute(update(battery_runs).where(battery_runs.c.id == run_id).values(status=status.value, ended_at=ended_at))


def charge(connection: Connection, run_id: str, usd: float) -> None:
    """Add to what a run's judges cost."""
    charged = battery_runs.c.judge_usd + usd
    connection.execute(update(battery_runs).where(battery_runs.c.id == run_id).values(judge_usd=charged))


def read_runs(connection: Connection) -> list[BatteryRun]:
    """Every run, the newest first."""
    ordered = select(battery_runs).order_by(battery_runs.c.started_at.desc(), battery_runs.c.id.desc())
    return [_run(row) for row in connection.execute(ordered)]


def read_cells(connection: Connection, run_id: str) -> list[BatteryCell]:
    """The cells of a run, in its order."""
    ordered = select(battery_cells).where(battery_cells.c.run_id == run_id).order_by(battery_cells.c.position)
    return [BatteryCell(row.task_type, row.model, row.calls, row.agents, row.skipped) for row in connection.execute(ordered)]


def _run(row: Row[Any]) -> BatteryRun:
    return BatteryRun(row.id, row.name, row.digest, row.baseline, row.started_at, RunStatus(row.status), row.ended_at, row.judge_usd)
