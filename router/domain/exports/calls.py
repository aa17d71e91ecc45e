"""A call that another gateway made, as far as its export tells, and what joins it with scores given elsewhere in the export."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.domain.events import Status
from router.domain.tasks import NAME

Row = Mapping[str, Any]
"""A row of an export: JSON values, or all of them text where it was written as CSV."""

TASK_TYPE = re.compile(rf"(?=.{{1,128}}\Z){NAME}")


class LeftOut(Exception):
    """A row, or a score, that is counted by its reason and passed over: no error."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read from the rows."""

    task_type: str | None = None
    """Of calls that do not say theirs."""
    key: str | None = None
    """Tag, metadata key or column that names the task type."""
    score: str | None = None
    """Name of the score that is quality."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Never a text of it."""

    id: str
    """The gateway's."""
    names: tuple[str, ...]
    """What its model may be called, the fullest name first; the last is how the export spells it."""
    status: Status
    made: float | None = None
    """Unix time."""
    task_type: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    score: Any = None
    """As it stands in the row."""
    targets: tuple[str, ...] = ()
    """Ids under which a score of it may be found in other rows, the nearest first."""
    about: str | None = None
    """Id of the ``About`` row that says more."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A score in a row of its own."""

    target: str
    value: Any
    order: str
    """The score with the highest one counts."""


@dataclass(frozen=True, slots=True)
class About:
    """What a row says of a call that another row tells of."""

    id: str
    task_type: str | None
    targets: tuple[str, ...]


Told = Call | Scored | About


def quality_of(value: object, scale: tuple[float, float] | None) -> float:
    """A score in [0, 1]; ``scale`` says what is worst and what is best.

    Raises ``LeftOut`` for what is none.
    """
    values = value if isinstance(value, list) else [value]
    numbers = [_number_of(item) for item in values]
    if not numbers:
        raise LeftOut("the score is empty", "leave the score out where there is none")
    mean = sum(numbers) / len(numbers)
    low, high = scale or (0.0, 1.0)
    score = (mean - low) / (high - low)
    if not 0.0 <= score <= 1.0:
        raise LeftOut("the score is out of range", "say which values are worst and best, e.g. --scale 1,5")
    return score


def _number_of(value: object) -> float:
    if isinstance(value, str):
        word = value.strip().lower()
        value = {"true": 1.0, "false": 0.0}.get(word, word)
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number says so
    except (TypeError, ValueError, OverflowError):
        raise LeftOut("the score is no number and no boolean", "name another score with --score") from None
