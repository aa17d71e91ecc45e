"""The limits on money: what the settings say, and what operators set over that while services run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from router.domain.overrides import Override
from router.domain.spending import Exhausted
from router.errors import TaskInvalid

SETTINGS = {
    "usd_per_request": "budget_usd_per_request",
    "usd_per_day": "budget_usd_per_day",
    "exhausted": "budget_exhausted",
    "exploration_quality_per_day": "exploration_quality_per_day",
    "exploration_usd_per_day": "exploration_usd_per_day",
}
"""The setting that each limit stands over while it is set at run time."""

MOST = 1_000_000.0
"""What a limit may be at most."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """The limits; None limits nothing. Days are of UTC, and a day's limits hold for all services on the log together."""

    usd_per_request: float | None = None
    """On average."""
    usd_per_day: float | None = None
    exhausted: Exhausted = Exhausted.CHEAPEST
    """What happens where the day's money is spent."""
    exploration_quality_per_day: float | None = None
    """Expected points of quality that decisions may give up to learn."""
    exploration_usd_per_day: float | None = None
    """Expected dollars that they may spend on top."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit as it holds, and where it comes from."""

    value: float | str | None
    source: Literal["settings", "run time"]
    setting: float | str | None
    """What the settings say: it holds again once what was set at run time is lifted."""
    at: float | None
    """Unix time when it was set at run time."""
    key_id: str | None
    """By whom."""


def in_force(base: Budgets, overrides: Mapping[str, Override]) -> Budgets:
    """What holds; names that this release does not know are left aside."""
    set_now = {name: one.value for name, one in overrides.items() if one.value is not None and name in SETTINGS}
    made = replace(base, **set_now)
    return replace(made, exhausted=Exhausted(made.exhausted))


def limits(base: Budgets, overrides: Mapping[str, Override]) -> dict[str, Limit]:
    """Every limit by name."""
    told = {}
    for name, setting in asdict(base).items():
        one = overrides.get(name)
        if one is None or one.value is None:
            told[name] = Limit(setting, "settings", setting, None, None)
        else:
            told[name] = Limit(one.value, "run time", setting, one.at, one.key_id)
    return told


def read_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Limits by name as somebody wrote them; None lifts.

    Raises ``TaskInvalid``.
    """
    if not given:
        raise TaskInvalid("no limit is named", field="name", remedy=f"name one of {', '.join(SETTINGS)}")
    for name, value in given.items():
        if name not in SETTINGS:
            raise TaskInvalid("no limit has this name", field="name", remedy=f"name one of {', '.join(SETTINGS)}")
        if name == "exhausted" and value not in (None, *Exhausted):
            raise TaskInvalid("the word is not known", field=name, remedy=f"choose one of {', '.join(Exhausted)}")
        if name != "exhausted" and value is not None and not 0 < value <= MOST:
            raise TaskInvalid("the limit is out of range", field=name, remedy=f"give a number above 0 and at most {MOST:,.0f}")
    return dict(given)


def check(budgets: Budgets) -> None:
    """Refuse limits that contradict each other.

    Raises ``TaskInvalid``.
    """
    day, request = budgets.usd_per_day, budgets.usd_per_request
    if day is not None and request is not None and request > day:
        raise TaskInvalid(
            "usd_per_day would be below usd_per_request", field="usd_per_day", remedy="raise it, or lower or lift usd_per_request"
        )
