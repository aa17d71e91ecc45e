"""How the preferences on a task type moved over the log, and which evidence moved them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from learning.choice import Preference
from learning.learner import Learner
from learning.rules import TaskPreferences, preferences
from router.domain.events import ArrivalEvent, Evidence, FeedbackEvent, OutcomeEvent, Regime, RegimeEvent, Status
from router.domain.evidence import QUALITY_METRIC, fold
from router.domain.offers import offers_of
from router.domain.tasks import Weights, needed_modalities
from router.ports import Store

_PAGE = 2_000
_SHOWN = 8
"""Scores shown for a change of the recommendation: the latest before it."""
_STILL = 0.005
"""Quality by which a model must move between two points to be told."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The preferences at a position of the log."""

    seq: int
    at: float | None
    """Unix time of the last dated evidence before it."""
    preferences: TaskPreferences


@dataclass(frozen=True, slots=True)
class Said:
    """A score that was given, corrected or (None) retracted."""

    seq: int
    decision_id: str
    model: str
    judge: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Move:
    """What moved the expected quality of one model between two positions."""

    from_seq: int
    to_seq: int
    model: str
    before: float
    after: float
    scores: int
    """Given or changed for the model on this task type in between."""
    mean_score: float | None
    failures: int
    because: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The recommendation changed between two positions."""

    from_seq: int
    to_seq: int
    before: str | None
    after: str | None
    scores: tuple[Said, ...]
    """The latest of the two models before the change was seen."""


@dataclass(frozen=True, slots=True)
class History:
    """The course of one task type."""

    task_type: str
    points: tuple[Standing, ...]
    moves: tuple[Move, ...]
    turns: tuple[Turn, ...]


class HistoryService:
    """Folds the log from its start and looks at it on the way. Synchronous and busy: call it in a thread."""

    def __init__(self, store: Store, weights: Weights) -> None:
        self._store = store
        self._weights = weights

    def history(self, task_type: str, points: int = 30) -> History:
        """The course of a task type at evenly spaced positions. Raises ``StorageUnavailable``."""
        last = self._store.last_seq()
        regime = self._store.regime_at(last)
        if regime is None:
            return History(task_type, (), (), ())
        course = _Course(task_type, regime, self._weights)
        looks = sorted({round(last * (i + 1) / points) for i in range(points)} - {0})
        for event in self._events(last):
            while looks and event.seq > looks[0]:
                course.look(looks.pop(0))
            course.take(event)
        for seq in looks:
            course.look(seq)
        return History(task_type, tuple(course.points), tuple(course.moves), tuple(course.turns))

    def _events(self, last: int) -> Iterator[Evidence]:
        seq = 0
        while seq < last:
            events, upto = self._store.read_evidence(seq, _PAGE)
            yield from events
            if upto == seq:
                return
            seq = upto


class _Course:
    def __init__(self, task_type: str, regime: Regime, weights: Weights) -> None:
        policy = regime.policy
        self._task_type = task_type
        self._learner = Learner(policy["half_life_records"], trusted=tuple(policy["trusted_judges"]))
        self._preference = Preference(
            weights.quality, weights.cost / policy["cost_reference_usd"], weights.latency / policy["latency_reference_s"]
        )
        self._regime: Regime | None = None
        self._said: list[Said] = []
        self._failed: list[str] = []
        self._at: float | None = None
        self.points: list[Standing] = []
        self.moves: list[Move] = []
        self.turns: list[Turn] = []

    def take(self, event: Evidence) -> None:
        fold(self._learner, event)
        if isinstance(event, RegimeEvent):
            self._regime, self._at = event.regime, event.regime.at
        elif isinstance(event, FeedbackEvent):
            self._at = event.at
            if event.task_type == self._task_type and event.metric == QUALITY_METRIC:
                score = event.after.get((event.judge, event.metric))
                self._said.append(Said(event.seq, event.decision_id, event.model, event.judge, None if score is None else score[0]))
        elif isinstance(event, OutcomeEvent):
            self._at = event.outcome.at
            if event.task_type == self._task_type and event.outcome.status in (Status.ERROR, Status.TIMEOUT):
                self._failed.append(event.model)
        elif not isinstance(event, ArrivalEvent) and hasattr(event, "at"):
            self._at = event.at

    def look(self, seq: int) -> None:
        if self._regime is None:
            return
        posterior = self._learner.posterior()
        needed = needed_modalities(self._task_type)
        models = [m for m in self._regime.models if not m.retired and needed <= m.modalities and m.id in posterior.model_index]
        standing = Standing(seq, self._at, preferences(posterior, offers_of(models, posterior), self._task_type, self._preference))
        if self.points:
            self._compare(self.points[-1], standing)
        self.points.append(standing)
        self._said, self._failed = [], []

    def _compare(self, before: Standing, after: Standing) -> None:
        was = {m.model: m.quality.mean for m in before.preferences.models}
        for model in after.preferences.models:
            own = [said for said in self._said if said.model == model.model]
            moved = model.model in was and abs(model.quality.mean - was[model.model]) >= _STILL
            if moved or own:
                given = [said.score for said in own if said.score is not None]
                mean = sum(given) / len(given) if given else None
                failures = self._failed.count(model.model)
                because = _because(own, mean, failures, len(self._said))
                start, end = was.get(model.model, model.quality.mean), model.quality.mean
                self.moves.append(Move(before.seq, after.seq, model.model, start, end, len(own), mean, failures, because))
        pair = before.preferences.recommended, after.preferences.recommended
        if pair[0] != pair[1]:
            heard = [said for said in self._said if said.model in pair][-_SHOWN:]
            self.turns.append(Turn(before.seq, after.seq, *pair, tuple(heard)))


def _because(own: Sequence[Said], mean: float | None, failures: int, scores: int) -> str:
    parts = []
    if own and mean is not None:
        parts.append(f"{len(own)} scores of its own, {mean:.2f} on average")
    if withdrawn := sum(said.score is None for said in own):
        parts.append(f"{withdrawn} scores withdrawn")
    if failures:
        parts.append(f"{failures} failed calls")
    if not own:
        parts.append(f"{scores} scores of other models on this type and what all types share")
    return "; ".join(parts)
