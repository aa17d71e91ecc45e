"""A stretch of the log as what it tells the learner: ``router.domain.evidence`` for many events at once, by column."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.block import AGREEMENT, CALL, COLUMNS, Block
from learning.bulk import Beside, fold_block
from learning.features import N_FEATURES
from learning.foretold import Foretold
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.targets import Target
from learning.text import TextScore
from learning.verdicts import agreements_of, changes, items_of, text_scores, told_of
from learning.voices import PLAIN, Agreement, Score, Verdict, Voice, Voices
from router.domain.events import ArrivalEvent, Evidence, RegimeEvent, Status
from router.domain.evidence import SAYS_NOTHING, evidence, fold

_SILENT = frozenset(status.value for status in SAYS_NOTHING)

_KINDS = (np.int64, *COLUMNS.values())
"""Of what is added, by column: its event's position, and the columns of a block."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a stretch of the log tells the learner."""

    block: Block
    breaks: Sequence[tuple[int, ArrivalEvent | RegimeEvent]]
    """What concerns the learner itself, each with the item of the block that it comes before."""
    texts: Sequence[tuple[int, TextScore]]
    """What touches nothing else that is learned, each with the number of the block's items that come before it."""

    def fold_into(self, learner: Learner) -> None:
        """The same as ``router.domain.evidence.fold`` of every event, in order."""
        at, beside = 0, Beside(learner, self.texts)
        for end, event in self.breaks:
            fold_block(learner, self.block.part(at, end), beside.after(at))
            fold(learner, event)
            at = end
        fold_block(learner, self.block.part(at, len(self.block)), beside.after(at))


def stretch_of(events: Iterable[Evidence], trusted: Collection[str]) -> Stretch:
    """What events tell a learner that trusts these judges."""
    gathered = Gathered(trusted)
    for event in events:
        gathered.add(event)
    return gathered.stretch()


class Gathered:
    """Evidence of a stretch of the log, added in any order.

    ``task_type`` and ``features`` (m, N_FEATURES) are those of decisions that what is added by column refers to.
    """

    def __init__(self, trusted: Collection[str], task_type: Sequence[str] = (), features: FloatArray | None = None) -> None:
        self._judges = Voices(tuple(trusted))
        self._models: defaultdict[str, int] = defaultdict(count().__next__)
        self._tasks: defaultdict[str, int] = defaultdict(count().__next__)
        self._voices: defaultdict[Voice, int] = defaultdict(count().__next__)
        self._plain = self._voices[PLAIN]
        self._task_names = task_type
        self._task_of = self._coded(task_type, self._tasks)
        self._features = np.zeros((0, N_FEATURES)) if features is None else features
        self._more: list[FloatArray] = []
        self._agreements: list[Agreement] = []
        self._rows: list[tuple[int, int, int, int, int, int, int, float, float, bool]] = []
        self._parts: list[tuple[Any, ...]] = []
        self._breaks: list[ArrivalEvent | RegimeEvent] = []
        self._texts: list[tuple[int, TextScore]] = []

    @staticmethod
    def _coded(names: Iterable[Any], codes: defaultdict[Any, int]) -> IntArray:
        return np.array([codes[name] for name in names], dtype=np.int64)

    def add_outcomes(
        self,
        seq: IntArray,
        clock: IntArray,
        decision: IntArray,
        status: Sequence[str],
        model: Sequence[str],
        output_tokens: Sequence[int | None],
        latency_s: Sequence[float | None],
        cost_usd: Sequence[float | None],
    ) -> None:
        """Outcomes by column; ``decision`` counts the decisions, ``model`` is the one that served."""
        ok = np.array([told == Status.OK for told in status], dtype=np.bool_)
        heard = np.array([told not in _SILENT for told in status], dtype=np.bool_)
        served = self._coded(model, self._models)
        calls = np.flatnonzero(heard)
        self._add(seq[calls], CALL, served[calls], 0, 0, 0, clock[calls], ~ok[calls], 1.0)
        tokens = [None if told is None else max(told, 1) for told in output_tokens]
        for target, told in ((Target.OUTPUT_TOKENS, tokens), (Target.LATENCY, latency_s), (Target.COST, cost_usd)):
            value = np.array([math.nan if number is None or number <= 0 else math.log(number) for number in told], dtype=np.float64)
            which = np.flatnonzero(ok & ~np.isnan(value))
            own = decision[which]
            self._add(seq[which], target, served[which], self._task_of[own], self._plain, own, clock[which], value[which], 1.0)

    def add_scores(
        self,
        seq: IntArray,
        clock: IntArray,
        decision: IntArray,
        model: Sequence[str],
        voice: Sequence[Voice],
        score: FloatArray,
        weight: FloatArray,
        foretold: Mapping[int, Foretold],
    ) -> None:
        """First scores of the quality of answers that nobody else has scored, by column; their weights are positive.

        ``foretold`` has those, counted among the scores, whose task's text was read.
        """
        for i, told in foretold.items():
            w = float(weight[i])
            text = TextScore(told, model[i], self._task_names[decision[i]], int(clock[i]), float(score[i]), w, voice[i])
            self._texts.append((int(seq[i]), text))
        task, served = self._task_of[decision], self._coded(model, self._models)
        self._add(seq, Target.QUALITY, served, task, self._coded(voice, self._voices), decision, clock, score, weight)

    def add_change(
        self, seq: int, clock: int, decision: int, model: str, before: Sequence[Score], after: Sequence[Score], foretold: Foretold | None
    ) -> None:
        """A change of the scores of the quality of one answer: all that were in force, and all that are."""
        gone, new = told_of(before, self._judges), told_of(after, self._judges)
        places = self._models[model], int(self._task_of[decision])
        changed = changes(gone, new)
        for score, weight in changed:
            voice = self._voices[Voice(score.judge, score.source)]
            self._rows.append((seq, int(Target.QUALITY), *places, voice, decision, clock, score.value, weight, bool(before)))
        if foretold is not None:
            self._texts += [(seq, text) for text in text_scores(foretold, model, self._task_names[decision], clock, changed)]
        for agreement in agreements_of(before, after, model, clock, self._judges):
            self._add_item(seq, agreement)

    def add(self, event: Evidence) -> None:
        """Anything by itself."""
        if isinstance(event, ArrivalEvent | RegimeEvent):
            self._breaks.append(event)
        for told in evidence(event):
            for item in items_of(told, self._judges) if isinstance(told, Verdict) else (told,):
                self._add_item(event.seq, item)

    def _add_item(self, seq: int, item: Observation | Call | Agreement | TextScore) -> None:
        if isinstance(item, TextScore):
            self._texts.append((seq, item))
            return
        model = self._models[item.model]
        if isinstance(item, Call):
            row = (seq, CALL, model, 0, 0, 0, item.clock, float(item.failed), 1.0, False)
        elif isinstance(item, Agreement):
            row = (seq, AGREEMENT, model, 0, 0, len(self._agreements), item.clock, item.score, item.weight, False)
            self._agreements.append(item)
        else:
            place = self._tasks[item.task_type], self._voices[item.voice], len(self._features) + len(self._more)
            row = (seq, int(item.target), model, *place, item.clock, item.value, item.weight, item.correction)
            self._more.append(item.features)
        self._rows.append(row)

    def _add(self, *columns: Any) -> None:
        """Columns as of ``_KINDS`` but the last: none is a correction. What is the same throughout is one value."""
        n = len(columns[0])
        told: list[Any] = [np.broadcast_to(np.asarray(column, dtype=kind), n) for column, kind in zip(columns, _KINDS[:-1], strict=True)]
        self._parts.append((*told, np.zeros(n, dtype=np.bool_)))

    def stretch(self) -> Stretch:
        """Everything that was added, in the order of the log."""
        rows: list[Any] = list(zip(*self._rows, strict=True)) or [()] * len(_KINDS)
        parts = [*self._parts, tuple(np.array(own, dtype=kind) for own, kind in zip(rows, _KINDS, strict=True))]
        columns: list[Any] = [np.concatenate(own) for own in zip(*parts, strict=True)]
        order = np.argsort(columns[0], kind="stable")  # what one event tells was added in its order
        seq = columns[0][order]
        told: dict[str, Any] = {name: column[order] for name, column in zip(COLUMNS, columns[1:], strict=True)}
        breaks = sorted(self._breaks, key=lambda event: event.seq)
        features = np.concatenate([self._features, np.array(self._more, dtype=np.float64).reshape(-1, N_FEATURES)])
        names = list(self._models), list(self._tasks), list(self._voices)
        block = Block(*names, **told, features=features, agreements=self._agreements)
        said = sorted(self._texts, key=itemgetter(0))  # of one event the text's come last: what they count follows from all before
        places = np.searchsorted(seq, [told_seq for told_seq, _ in said], side="right").tolist()
        texts = [(place, text) for place, (_, text) in zip(places, said, strict=True)]
        return Stretch(block, [(int(np.searchsorted(seq, event.seq)), event) for event in breaks], texts)
