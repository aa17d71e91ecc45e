"""The course of what is learned."""

from typing import Any

from pydantic import Field

from router.api.views.view import View


class SaidView(View):
    """A score that was given, corrected or (null) retracted."""

    seq: int
    decision_id: str
    model: str
    judge: str
    score: float | None


class StandingView(View):
    """The preferences at a position of the log."""

    seq: int
    at: float | None
    preferences: dict[str, Any] = Field(description="As in `/v1/policy/{task_type}`.")


class MoveView(View):
    """What moved the expected quality of one model between two positions."""

    from_seq: int
    to_seq: int
    model: str
    before: float
    after: float
    scores: int
    mean_score: float | None
    failures: int
    because: str


class TurnView(View):
    """The recommendation changed between two positions."""

    from_seq: int
    to_seq: int
    before: str | None
    after: str | None
    scores: tuple[SaidView, ...]


class HistoryView(View):
    """The course of one task type."""

    task_type: str
    points: tuple[StandingView, ...]
    moves: tuple[MoveView, ...]
    turns: tuple[TurnView, ...]
