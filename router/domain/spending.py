"""A day's money: what of it is spent, and what each of the requests that are still to come may cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.domain.events import AttemptEvent, OutcomeEvent
from router.domain.tallies import DAY_S, HOUR_S

_PRIOR_REQUESTS = 50.0
"""Requests at which today's traffic counts as much as yesterday's in how they compare."""
_TREND_RANGE = (0.2, 5.0)
_LEAST_SEEN_S = 900.0
"""A rate is told from no shorter time."""
_FEWEST = 10.0
"""Requests that are always expected still: the last ones of a day do not share out all that is left."""


class Exhausted(StrEnum):
    """What happens where the day's money is spent."""

    CHEAPEST = "cheapest"
    """Every request goes to the eligible model with the lowest expected cost, those that name a model left aside."""
    REFUSE = "refuse"
    """Requests are refused until the next day."""


@dataclass(frozen=True, slots=True)
class DayStanding:
    """How the day's budget stands."""

    budget_usd: float
    spent_usd: float
    expected_requests: float
    """Until the day ends."""
    usd_per_request: float
    """What each of them may cost on average."""
    ends_at: float
    """Unix time; days are of UTC."""
    exhausted: Exhausted

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.spent_usd >= self.budget_usd


class Bills:
    """Adds up what the calls of each request cost, as the log tells of them one by one."""

    def __init__(self) -> None:
        self._before: dict[int, float] = {}
        """What the calls before the last one cost, by the decision's position."""

    def called(self, event: AttemptEvent) -> float | None:
        """Take note of a call; USD where it is not one that the outcome tells of."""
        cost = None if event.attempt.last else event.attempt.cost_usd
        if cost is not None:
            self._before[event.decision_seq] = self._before.get(event.decision_seq, 0.0) + cost
        return cost

    def ended(self, event: OutcomeEvent) -> float | None:
        """USD of a request with all its calls, as far as they are known; None where nothing is."""
        before, last = self._before.pop(event.decision_seq, None), event.outcome.cost_usd
        return last if before is None else before + (last or 0.0)


def day_of(at: float) -> int:
    """First second of the day of UTC around a Unix time."""
    return int(at // DAY_S) * DAY_S


def remaining_requests(hours: Mapping[int, int], now: float) -> float:
    """Requests that are expected until the day ends.

    With a day of history they are those of the same hours yesterday times how today compares with yesterday so far; before that, the
    rate so far times what is left of the day.

    Parameters
    ----------
    hours : mapping
        Decisions by the first second of their hour, over the last two days; an hour without any may be missing.
    """
    end, start = day_of(now) + DAY_S, day_of(now)
    left = end - now
    if not hours:
        return _FEWEST
    first, hour = min(hours), int(now // HOUR_S) * HOUR_S
    if first > now - DAY_S:
        known = [n for at, n in hours.items() if at <= now]
        return max(_FEWEST, sum(known) / max(now - first, _LEAST_SEEN_S) * left)
    part = (now - hour) / HOUR_S
    yesterday = {at: hours.get(at - DAY_S, 0) for at in range(start, end, HOUR_S)}
    today = sum(n for at, n in hours.items() if start <= at <= hour)
    same = sum(n for at, n in yesterday.items() if at < hour) + part * yesterday[hour]
    rest = sum(n for at, n in yesterday.items() if at > hour) + (1.0 - part) * yesterday[hour]
    low, high = _TREND_RANGE
    trend = min(max((today + _PRIOR_REQUESTS) / (same + _PRIOR_REQUESTS), low), high)
    return max(_FEWEST, trend * rest)
