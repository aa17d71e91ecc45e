"""What was waited for, and the pace that it comes to."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pace:
    """What callers got, each waiting for its answer before asking again."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float
    """Of the whole process, for each."""
    rows_per_commit: float | None = None


class Waits:
    """What was waited for so far."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.groups: list[int] = []
        """Rows of each commit."""
        self.rows = 0
        self.took = 0.0
        self.used = 0.0
        """CPU seconds of the process."""

    def pace(self) -> Pace:
        """Of all of it together."""
        p50, p95, p99 = (1e3 * float(q) for q in np.quantile(self.waits, (0.5, 0.95, 0.99)))
        per_commit = float(np.mean(self.groups)) if self.groups else None
        return Pace(self.rows / self.took, p50, p95, p99, 1e6 * self.used / self.rows, per_commit)
