"""What the database keeps of a battery's runs, beside the log that holds every call of theirs."""

from dataclasses import dataclass
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    """Or killed: the next run of the same battery goes on with it."""
    DONE = "done"
    CAPPED = "capped"
    """It stopped at its limit of money; it goes on under a higher one."""


@dataclass(frozen=True, slots=True)
class BatteryRun:
    """One run. Its calls are the decisions whose episode is the run's id."""

    id: str
    name: str
    digest: str
    """Of what the battery asks and how it judges."""
    baseline: str
    started_at: float
    status: RunStatus = RunStatus.RUNNING
    ended_at: float | None = None
    judge_usd: float = 0.0
    """What judges cost that ask models."""


@dataclass(frozen=True, slots=True)
class BatteryCell:
    """One task type with one model in a run."""

    task_type: str
    model: str
    calls: int
    """Planned; 0 where it is skipped."""
    agents: int
    """Of the orchestration, that do such tasks."""
    skipped: str | None = None
    """Why the model does not play it."""
