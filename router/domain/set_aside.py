"""Records that the fold leaves out: it raised whenever they were folded, and nothing behind them would ever be learned.

They stay in the log and in what is counted. What came later about the same decision goes with them: a correction takes back what it
corrects, and nothing of that was folded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from router.domain.events import AttemptEvent, CostEvent, Evidence, FeedbackEvent, OutcomeEvent

MOST = 100
"""In one log. More are no single broken record: this release does not fit the log, and going on would unlearn it bit by bit."""

_KINDS: dict[type, str] = {AttemptEvent: "attempt", OutcomeEvent: "outcome", CostEvent: "cost_change", FeedbackEvent: "feedback"}


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is left out, and why."""

    seq: int
    decision_seq: int
    """Of the decision that it is about."""
    kind: str
    """attempt, outcome, cost_change or feedback."""
    error: str
    """Name of the class; the message may quote what somebody sent."""
    at: float


class RecordUnreadable(Exception):
    """A record of the log cannot be read back; the cause says why."""

    def __init__(self, seq: int, decision_seq: int, kind: str) -> None:
        super().__init__(f"the {kind} at log position {seq} cannot be read")
        self.seq = seq
        self.decision_seq = decision_seq
        self.kind = kind


class Omitted:
    """What the fold leaves out."""

    def __init__(self, records: Iterable[SetAside] = ()) -> None:
        self._from: dict[int, int] = {}
        for record in records:
            self._from[record.decision_seq] = min(record.seq, self._from.get(record.decision_seq, record.seq))

    def __bool__(self) -> bool:
        return bool(self._from)

    def __call__(self, seq: int, decision_seq: int) -> bool:
        """Whether it leaves this record out."""
        first = self._from.get(decision_seq)
        return first is not None and seq >= first

    def kept(self, events: Iterable[Evidence]) -> list[Evidence]:
        """The events that it does not leave out."""
        return [event for event in events if kind_of(event) is None or not self(event.seq, event.decision_seq)]  # type: ignore[union-attr]


def kind_of(event: Evidence) -> str | None:
    """What may be set aside, by name; None for what the log says of models: without it nothing that follows means the same."""
    return _KINDS.get(type(event))
