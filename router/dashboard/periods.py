"""The stretch of time that a page shows, and the tallies in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.domain.tallies import DAY_S, FINE_S, HOUR_S, MINUTE_S, QUARTER_S, Counted, Sums, Tally
from router.ports import TallyStore

_MOST_STEPS = 60
"""Steps of a chart: more cannot be told apart, and each rests on fewer decisions."""


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of the reader's."""

    key: str
    label: str
    length_s: float
    span_s: int
    """Of the tallies that cover it."""


PERIODS = (
    Period("quarter", "15 min", 15 * MINUTE_S, FINE_S),
    Period("hour", "1 hour", HOUR_S, MINUTE_S),
    Period("day", "24 hours", DAY_S, HOUR_S),
    Period("week", "7 days", 7 * DAY_S, QUARTER_S),
    Period("month", "30 days", 30 * DAY_S, DAY_S),
    Period("all", "All", float("inf"), DAY_S),
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A period up to the latest decision."""

    period: Period
    since: float
    until: float
    counted: Counted


def stretch(store: TallyStore, key: str | None, now: float) -> Stretch:
    """The period of that name; the shortest that holds everything where there is no such one."""
    counted = store.counted()
    until = now if counted.last_at is None else float(counted.last_at + FINE_S)
    period = next((p for p in PERIODS if p.key == key), None) or _fitting(store, counted, until)
    return Stretch(period, max(until - period.length_s, 0.0), until, counted)


def _fitting(store: TallyStore, counted: Counted, until: float) -> Period:
    if counted.first_at is None:
        return PERIODS[0]
    age = until - counted.first_at  # to the beginning of a day: a young log is looked at more closely
    if age <= 2 * DAY_S:
        whole = sum(line.sums.decisions for line in store.tallies(DAY_S, 0.0, "task_type"))
        for period in PERIODS[:3]:
            if sum(line.sums.decisions for line in store.tallies(period.span_s, until - period.length_s, "task_type")) == whole:
                return period
    return next(period for period in PERIODS[3:] if age <= period.length_s)


@dataclass(frozen=True, slots=True)
class Steps:
    """Sums by step of time and model; ``starts`` has no gaps."""

    starts: list[int]
    length_s: int
    sums: dict[str, dict[int, Sums]]


def steps(lines: Sequence[Tally], at: Stretch) -> Steps:
    """Lines by time in at most some dozens of steps, from the first one that holds anything."""
    begin = min((line.start for line in lines if line.start is not None), default=int(at.since))
    span = at.period.span_s
    length = span * max(1, -(-int(at.until - begin) // (span * _MOST_STEPS)))
    sums: dict[str, dict[int, Sums]] = {}
    for line in lines:
        if line.start is not None:
            start, own = line.start // length * length, sums.setdefault(line.model, {})
            own[start] = own[start].plus(line.sums) if start in own else line.sums
    first, last = begin // length * length, int(at.until - 1) // length * length
    return Steps(list(range(first, last + 1, length)), length, sums)


def total(lines: Sequence[Tally]) -> Sums:
    """All lines together."""
    result = Sums()
    for line in lines:
        result = result.plus(line.sums)
    return result
