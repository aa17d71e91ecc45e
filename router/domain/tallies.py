"""What decisions came to, counted by time, task type and model, so that a report never reads the log itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

FINE_S, MINUTE_S, HOUR_S, QUARTER_S, DAY_S = 5, 60, 3_600, 21_600, 86_400
SPANS = (FINE_S, MINUTE_S, HOUR_S, QUARTER_S, DAY_S)
"""Lengths of the periods that are counted, in seconds: what a reader sees takes some dozens of one of them."""
KEPT_S: Mapping[int, int] = {FINE_S: 20 * MINUTE_S, MINUTE_S: 90 * MINUTE_S, HOUR_S: 2 * DAY_S, QUARTER_S: 9 * DAY_S}
"""How far back from the newest decision the shorter periods are kept; days are kept for good."""

By = Literal["time", "task_type"]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over decisions. What happened later (outcome, score, correction) counts at the time of the decision."""

    decisions: int = 0
    fallbacks: int = 0
    answered: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    """Of all calls, those included that another had to take over from."""
    costed: int = 0
    """Outcomes whose cost is known."""
    latency_s: float = 0.0
    """Of the answered calls."""
    timed: int = 0
    score: float = 0.0
    """Each score times its weight."""
    weight: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(*(getattr(self, name) + getattr(other, name) for name in SUMMED))

    @property
    def mean_cost_usd(self) -> float | None:
        """Per outcome of known cost, failed attempts included."""
        return self.cost_usd / self.costed if self.costed else None

    @property
    def mean_latency_s(self) -> float | None:
        """Per answered call."""
        return self.latency_s / self.timed if self.timed else None

    @property
    def mean_score(self) -> float | None:
        """Weighted; None where nothing was scored."""
        return min(max(self.score / self.weight, 0.0), 1.0) if self.weight > _NOTHING else None


SUMMED = tuple(Sums.__dataclass_fields__)
_NOTHING = 1e-9
"""Weight that is left of scores that were taken back, by rounding."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One line: a model's sums in a period, or on a task type."""

    start: int | None
    """Unix time at which the period begins; None where the lines are by task type."""
    task_type: str | None
    """None where the lines are by time."""
    model: str
    """The one that was chosen, and for what happened the one that served."""
    sums: Sums


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge gave one model, under one metric; scores as they stand."""

    judge: str
    metric: str
    model: str
    scores: int
    total: float
    squares: float


@dataclass(frozen=True, slots=True)
class Counted:
    """How far the log has been counted, and between which times its decisions lie (None: there are none)."""

    seq: int
    first_at: int | None
    """Beginning of the day of the first one."""
    last_at: int | None
    """Beginning of the fine period of the latest one."""


Place = tuple[int, str, str]
"""Number of the fine period, task type, model."""


@dataclass(slots=True)
class Additions:
    """What some positions of the log add."""

    sums: dict[Place, Sums] = field(default_factory=dict)
    judged: dict[tuple[str, str, str], tuple[int, float, float]] = field(default_factory=dict)

    def add(self, place: Place, sums: Sums) -> None:
        """Count at a place."""
        known = self.sums.get(place)
        self.sums[place] = sums if known is None else known.plus(sums)

    def judge(self, who: tuple[str, str, str], scores: int, total: float, squares: float) -> None:
        """Count for a judge, a metric and a model."""
        n, t, s = self.judged.get(who, (0, 0.0, 0.0))
        self.judged[who] = (n + scores, t + total, s + squares)

    def periods(self, newest: int) -> Iterator[tuple[int, int, str, str, Sums]]:
        """(span, start, task type, model, sums) of every period that is kept, where ``newest`` is the latest time counted."""
        places: dict[tuple[int, int, str, str], Sums] = {}
        for (fine, task_type, model), sums in self.sums.items():
            at = fine * FINE_S
            for span in SPANS:
                if span in KEPT_S and at < newest - KEPT_S[span]:
                    continue
                key = (span, at // span * span, task_type, model)
                places[key] = places[key].plus(sums) if key in places else sums
        for key, sums in places.items():
            yield *key, sums

    @property
    def newest(self) -> int:
        """The latest fine period that something happened to; 0 where nothing did."""
        return max((fine for fine, _, _ in self.sums), default=0) * FINE_S
