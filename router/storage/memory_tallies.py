"""Tallies of the log in memory."""

from collections.abc import Callable, Iterable

from router.domain.decisions import IMPORTED, Decision
from router.domain.events import AttemptEvent, CostEvent, DecisionEvent, FeedbackEvent, LogEvent, OutcomeEvent, Status
from router.domain.tallies import DAY_S, FINE_S, KEPT_S, Additions, By, Counted, Judged, Sums, Tally


class MemoryTallies:
    """Counts events in log order; not safe to share between threads."""

    def __init__(self) -> None:
        self.seq = 0
        self._newest = 0
        self._sums: dict[tuple[int, int, str, str], Sums] = {}
        self._judged: dict[tuple[str, str, str], tuple[int, float, float]] = {}

    def count(self, events: Iterable[LogEvent], upto: int, decision_of: Callable[[int], Decision]) -> None:
        """Count the events up to log position ``upto``; ``decision_of`` finds a decision by its position."""
        found = Additions()
        for event in events:
            if isinstance(event, DecisionEvent | AttemptEvent | OutcomeEvent | CostEvent | FeedbackEvent):
                decision = event.decision if isinstance(event, DecisionEvent) else decision_of(event.decision_seq)
                _count(found, event, decision)
        self._newest = max(self._newest, found.newest)
        for span, start, task_type, model, sums in found.periods(self._newest):
            key = (span, start, task_type, model)
            self._sums[key] = self._sums[key].plus(sums) if key in self._sums else sums
        for who, (scores, total, squares) in found.judged.items():
            n, t, s = self._judged.get(who, (0, 0.0, 0.0))
            self._judged[who] = (n + scores, t + total, s + squares)
        for span, kept_s in KEPT_S.items():
            for key in [key for key in self._sums if key[0] == span and key[1] < self._newest - kept_s]:
                del self._sums[key]
        self.seq = upto

    def counted(self) -> Counted:
        """How far."""
        days = [start for span, start, _, _ in self._sums if span == DAY_S]
        return Counted(self.seq, min(days, default=None), self._newest or None)

    def read(self, span_s: int, since: float, by: By, task_type: str | None) -> list[Tally]:
        """Lines of the periods that end after ``since``."""
        lines: dict[tuple[int | str, str], Sums] = {}
        for (span, start, name, model), sums in self._sums.items():
            if span == span_s and start > since - span_s and task_type in (None, name):
                key = (start if by == "time" else name, model)
                lines[key] = lines[key].plus(sums) if key in lines else sums
        return [
            Tally(place, task_type, model, sums) if isinstance(place, int) else Tally(None, place, model, sums)
            for (place, model), sums in sorted(lines.items(), key=lambda line: line[0])
        ]

    def judged(self) -> list[Judged]:
        """Every judge's lines that have a score left."""
        return [Judged(*who, *sums) for who, sums in sorted(self._judged.items()) if sums[0] > 0]


def _count(found: Additions, event: DecisionEvent | AttemptEvent | OutcomeEvent | CostEvent | FeedbackEvent, decision: Decision) -> None:
    fine, ours = int(decision.at // FINE_S), decision.policy != IMPORTED
    match event:
        case FeedbackEvent():
            key = (event.judge, event.metric)
            (old, lost), (new, won) = event.before.get(key, (0.0, 0.0)), event.after.get(key, (0.0, 0.0))
            if ours:
                found.add((fine, event.task_type, event.model), Sums(score=new * won - old * lost, weight=won - lost))
            n = int(key in event.after) - int(key in event.before)
            found.judge((*key, event.model), n, new - old, new * new - old * old)
        case _ if not ours:
            return
        case DecisionEvent(decision=decided):
            found.add((fine, decided.task_type, decided.model), Sums(decisions=1, fallbacks=int(decided.fallback)))
        case AttemptEvent(attempt=tried):
            if not tried.last and tried.cost_usd is not None:
                found.add((fine, decision.task_type, tried.model), Sums(cost_usd=tried.cost_usd))
        case OutcomeEvent(outcome=outcome):
            answered, cost = outcome.status is Status.OK, outcome.cost_usd
            took = outcome.latency_s if answered else None
            sums = Sums(
                answered=int(answered),
                failed=int(outcome.status in (Status.ERROR, Status.TIMEOUT)),
                cost_usd=cost or 0.0,
                costed=int(cost is not None),
                latency_s=took or 0.0,
                timed=int(took is not None),
            )
            found.add((fine, event.task_type, event.model), sums)
        case CostEvent(before_usd=before, after_usd=after):
            sums = Sums(cost_usd=(after or 0.0) - (before or 0.0), costed=int(after is not None) - int(before is not None))
            found.add((fine, event.task_type, event.model), sums)
