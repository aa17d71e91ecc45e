"""What a judge reads and what it says. Texts stay out of every repr: they are the callers'."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from adapters.types import Message


@dataclass(frozen=True, slots=True)
class Case:
    """What was asked, and what is known about a good answer. Each judge names the fields that it needs in ``needs``."""

    task_type: str
    messages: tuple[Message, ...] = field(default=(), repr=False)
    expected: tuple[str, ...] = field(default=(), repr=False)
    """Right answers, any of which will do (exact, numeric, label)."""
    labels: tuple[str, ...] = ()
    """Every label there is (label)."""
    tolerance: float = 1e-6
    """Relative distance from the expected number that is still right (numeric)."""
    pattern: str | None = field(default=None, repr=False)
    """A regular expression that a right answer matches somewhere (regex)."""
    contains: tuple[str, ...] = field(default=(), repr=False)
    """Phrases of which each is worth the same share of the score (contains)."""
    excludes: tuple[str, ...] = field(default=(), repr=False)
    """Phrases of which any makes the answer wrong (contains)."""
    schema: Mapping[str, Any] | None = field(default=None, repr=False)
    """The JSON schema that the answer keeps to (json_schema)."""
    tests: tuple[str, ...] = field(default=(), repr=False)
    """Python statements that fail unless the code does what it should, each worth the same share of the score (code)."""
    uses: tuple[str, ...] = ()
    """Names that the code should import, call or refer to; reported, not scored (code)."""
    reference: str | None = field(default=None, repr=False)
    """A good answer (similarity, pairwise; shown to the rubric judge)."""
    rubric: str | None = field(default=None, repr=False)
    """What makes an answer good; None: the judge's own words for the task type (rubric, pairwise)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    text: str = field(repr=False)
    model: str = ""
    """``provider/name``; empty where it is not a model's."""
    family: str = ""
    """As in the catalogue; empty: unknown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score in [0, 1], or None where the judge could not come to one."""

    score: float | None
    judge: str
    """Who gave it, e.g. ``similarity:char-ngram`` or ``rubric:openai/gpt-4o``."""
    version: str
    """Changes whenever the same answer might get another score."""
    reason: str = ""
    """Never repeats the answer."""
    cost_usd: float | None = 0.0
    """None: the judge made a call whose price is unknown."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the score is made of or what was noticed beside it, each in [0, 1]."""

    def __post_init__(self) -> None:
        for value in (self.score, *self.parts.values()):
            if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise ValueError(f"judge {self.judge} left [0, 1]: {value}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model that judges said."""

    text: str = field(repr=False)
    cost_usd: float | None
    """None: unknown."""


Ask = Callable[[str, tuple[Message, ...]], Awaitable[Reply]]
"""Calls a model: its id and the conversation. Raises ``adapters.errors.AdapterError`` or ``RouterError``."""


class Judge(Protocol):
    """Scores without a model; may take seconds and use subprocesses, so call it off the event loop."""

    name: str
    version: str
    needs: ClassVar[tuple[str, ...]]
    """Fields of the case without which it has nothing to go by."""

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Score one answer.

        Raises ``JudgeUnavailable`` where something that it needs is not installed.
        """
        ...


@runtime_checkable
class AskingJudge(Protocol):
    """Scores by asking models."""

    name: str
    version: str
    needs: ClassVar[tuple[str, ...]]

    async def ask(self, case: Case, answer: Answer, ask: Ask) -> Verdict:
        """Score one answer; a reply that cannot be read gives no score.

        Raises what ``ask`` raises.
        """
        ...
