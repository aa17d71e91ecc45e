"""The detectors over a whole stretch of the log: what they look at is worked out for all values together, then they step in log order."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.detectors import SLOPES_EVERY, SUSPICION, Stream, compare, compare_all, fit_slopes, slopes_at
from learning.drift import Alarm, Kept, Watch, reference, suspected_since
from learning.running import Running, unpack
from learning.targets import Target
from learning.voices import Voice

Names = Callable[[int], tuple[str, str]]
"""Model and task type of a cell."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Values of one target in a stretch, (n,) each, without what their running sums tell."""

    item: IntArray
    cell: IntArray
    of: IntArray
    """Which of the running sums."""
    row: IntArray
    clock: IntArray
    now: IntArray
    decay: FloatArray
    value: FloatArray
    weight: FloatArray
    voice: IntArray


class Watching:
    """One target's values with what they are compared with, and the slopes of their cells."""

    def __init__(
        self,
        target: Target,
        watch: Watch,
        looked: Looked,
        running: Running,
        features: FloatArray,
        half_life: float,
        names: Names,
    ) -> None:
        self.target, self.looked, self.half_life = target, looked, half_life
        self.watched = watch.watched[target]
        self.cells, self.own, count = np.unique(looked.cell, return_inverse=True, return_counts=True)
        self.names = [names(cell) for cell in self.cells.tolist()]
        streams = [watch.streams.get((target, *place)) or Stream() for place in self.names]
        self.age = np.array([stream.age for stream in streams], dtype=np.int64)
        self._fit(streams, running, count)
        column, total, square = running.level(looked.of)
        self.slope = slopes_at(self._slopes[self._which], features[looked.row], column)
        self.sums = column[:, 0] * looked.decay, total * looked.decay, square * looked.decay
        self.expected, self.sd, self.gains = compare_all(target, looked.value, self.sums, self.slope, self.watched.slack)
        self.gains *= np.minimum(looked.weight, 1.0)[:, None]

    def _fit(self, streams: Sequence[Stream], running: Running, count: IntArray) -> None:
        """Fit the slopes of each cell anew at every so many of its values, and say which hold at which value."""
        n, cells = len(self.own), len(self.cells)
        order = np.argsort(self.own, kind="stable")
        first = np.cumsum(count) - count
        rank = np.arange(n) - np.repeat(first, count)
        due = (self.age[self.own[order]] + rank) % SLOPES_EVERY == 0
        at = order[due]
        gram, moment, _square, _labels = unpack(running.before(self.looked.of[at]))
        decay = self.looked.decay[at]
        fitted = fit_slopes(self.target, gram * decay[:, None, None], moment * decay[:, None])
        kept = np.array([stream.slopes for stream in streams]).reshape(cells, fitted.shape[1])
        self._slopes = np.concatenate([kept, fitted])
        which = np.zeros(n, dtype=np.int64)
        which[first] = np.arange(cells)
        which[due] = cells + np.arange(len(at))
        told = np.zeros(n, dtype=np.int64)
        told[first] = first
        told[due] = np.flatnonzero(due)
        self._which = np.empty(n, dtype=np.int64)
        self._which[order] = which[np.maximum.accumulate(told)]

    def settle(self, watch: Watch, count: int) -> None:
        """Leave the ages and slopes of the streams as they are after the first ``count`` values."""
        done = np.bincount(self.own[:count], minlength=len(self.cells))
        last = np.zeros(len(self.cells), dtype=np.int64)
        last[self.own[:count]] = self._which[:count]
        slopes = self._slopes[last].tolist()
        for i in np.flatnonzero(done).tolist():
            stream = watch.streams[(self.target, *self.names[i])]
            stream.age = int(self.age[i] + done[i])
            stream.slopes = slopes[i]


def scan(watch: Watch, watching: Sequence[Watching], voices: Sequence[Voice], features: FloatArray) -> tuple[int, Alarm] | None:
    """Let the detectors look at everything up to the first alarm; the item that gave it, and the alarm."""
    found = _scan(watch, watching, voices, features)
    for own in watching:
        own.settle(watch, len(own.looked.item) if found is None else int(np.searchsorted(own.looked.item, found[0], "right")))
    return found


def _scan(watch: Watch, watching: Sequence[Watching], voices: Sequence[Voice], features: FloatArray) -> tuple[int, Alarm] | None:
    values = _InOrder(watching)
    clocks, voice = values.clock, values.voice
    changed: dict[int, tuple[float, float]] = {}  # expectation and deviation of the values that were compared under suspicion
    touched: list[deque[Any]] = []
    places: list[Any] = [None] * sum(len(own.cells) for own in watching)
    try:
        for j, (p, gains) in enumerate(zip(values.place, values.gains, strict=True)):
            place = places[p]
            if place is None:
                place = places[p] = _place(watch, watching, p)
                touched.append(place[2])
            own, whole, kept, log_threshold, target, model, task_type, slack, half_life = place
            clock = clocks[j]
            if own.top > SUSPICION or whole.top > SUSPICION:
                since, mine = suspected_since(own, whole), voice[j]
                sums = None
                for old in kept:
                    if type(old) is int:
                        if clocks[old] >= since and voice[old] == mine:
                            sums = reference(values.sums(old), 2.0 ** (-(values.now(j) - values.now(old)) / half_life))
                            break
                    elif old[0] >= since and old[1] == voices[mine] and old[2] > 0.0:
                        sums = reference(old[2:5], 2.0 ** (-(values.now(j) - old[5]) / half_life))
                        break
                if sums is not None:
                    expected, sd, gains = compare(target, values.value(j), sums, values.slope(j), slack)
                    changed[j] = expected, sd
                    weight = values.weight(j)
                    if weight < 1.0:
                        gains = [weight * gain for gain in gains]
            kept.append(j)
            own.step(gains, clock)
            if own.top > log_threshold:
                values.settle(touched, changed, voices, features)
                alarm = watch.alarm((target, model, task_type), own, clock)
                if alarm is not None:
                    return values.item(j), alarm
            whole.step(gains, clock)
            if whole.top > log_threshold:
                values.settle(touched, changed, voices, features)
                alarm = watch.alarm((target, model, None), whole, clock)
                if alarm is not None:
                    return values.item(j), alarm
        return None
    finally:
        values.settle(touched, changed, voices, features)


def _place(watch: Watch, watching: Sequence[Watching], p: int) -> tuple[Any, ...]:
    for own in watching:
        if p < len(own.cells):
            model, task_type = own.names[p]
            streams = watch.place(own.target, model, task_type)
            return *streams, math.log(own.watched.threshold), own.target, model, task_type, own.watched.slack, own.half_life
        p -= len(own.cells)
    raise AssertionError("every place is one of these")


class _InOrder:
    """The values of all targets in the order of the log: as lists what every one is asked for, else as arrays."""

    def __init__(self, watching: Sequence[Watching]) -> None:
        offset = np.cumsum([0, *(len(own.cells) for own in watching)]).tolist()
        looked = [own.looked for own in watching]
        item = np.concatenate([own.item for own in looked])
        order = np.argsort(item)

        def joined(parts: Iterable[Any]) -> Any:
            return np.concatenate(list(parts))[order]

        self.place: list[int] = joined(own.own + first for own, first in zip(watching, offset, strict=False)).tolist()
        self.gains: list[list[float]] = joined(own.gains for own in watching).tolist()
        self.clock: list[int] = joined(own.clock for own in looked).tolist()
        self.voice: list[int] = joined(own.voice for own in looked).tolist()
        self._whole: IntArray = np.stack([item[order], joined(own.now for own in looked), joined(own.row for own in looked)], axis=1)
        told = [(*own.sums, own.looked.value, own.looked.weight, own.expected, own.sd, own.slope) for own in watching]
        self._told: FloatArray = joined(np.stack(columns, axis=1) for columns in told)

    def item(self, j: int) -> int:
        """Which item a value is."""
        return int(self._whole[j, 0])

    def now(self, j: int) -> int:
        """The newest position folded before it."""
        return int(self._whole[j, 1])

    def sums(self, j: int) -> tuple[float, float, float]:
        """What it is compared with."""
        n, total, square = self._told[j, :3].tolist()
        return n, total, square

    def value(self, j: int) -> float:
        """Itself."""
        return float(self._told[j, 3])

    def weight(self, j: int) -> float:
        """Without decay."""
        return float(self._told[j, 4])

    def slope(self, j: int) -> float:
        """What its features add."""
        return float(self._told[j, 7])

    def settle(
        self, touched: Sequence[deque[Any]], changed: Mapping[int, tuple[float, float]], voices: Sequence[Voice], features: FloatArray
    ) -> None:
        """Put what was kept in the place of the numbers that stand for it."""
        for kept in touched:
            for i in range(len(kept) - 1, -1, -1):
                j = kept[i]
                if type(j) is not int:
                    break
                n, total, square, value, weight, expected, sd, _ = self._told[j].tolist()
                expected, sd = changed.get(j, (expected, sd))
                _, now, row = self._whole[j].tolist()
                kept[i] = Kept(
                    self.clock[j], voices[self.voice[j]], n, total, square, now, value, weight, expected, sd, features[row].copy()
                )
