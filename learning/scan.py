"""The detectors over a whole stretch of the log: what they look at is worked out for all values together, then they step in log order."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.detectors import SLOPES_EVERY, SUSPICION, Stream, compare, compare_all, fit_slopes, slopes_at
from learning.drift import Alarm, Kept, Watch
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
    touched: list[deque[Any]] = []
    places: list[Any] = [None] * sum(len(own.cells) for own in watching)
    try:
        for item, p, clock, gains, expected, sd, n, total, square, now, value, weight, voice, row, slope in _in_order(watching):
            place = places[p]
            if place is None:
                place = places[p] = _place(watch, watching, p)
                touched.append(place[2])
            own, whole, kept, log_threshold, target, model, task_type, slack, half_life = place
            if own.top > SUSPICION or whole.top > SUSPICION:
                before = n, total, square
                sums = watch.unsuspected(before, own, whole, kept, voices[voice], now, half_life)
                if sums is not before:
                    expected, sd, gains = compare(target, value, sums, slope, slack)
                    if weight < 1.0:
                        gains = [weight * gain for gain in gains]
            kept.append((clock, voices[voice], n, total, square, now, value, weight, expected, sd, row))
            own.step(gains, clock)
            if own.top > log_threshold:
                _finish(touched, features)
                alarm = watch.alarm((target, model, task_type), own, clock)
                if alarm is not None:
                    return item, alarm
            whole.step(gains, clock)
            if whole.top > log_threshold:
                _finish(touched, features)
                alarm = watch.alarm((target, model, None), whole, clock)
                if alarm is not None:
                    return item, alarm
        return None
    finally:
        _finish(touched, features)


def _place(watch: Watch, watching: Sequence[Watching], p: int) -> tuple[Any, ...]:
    for own in watching:
        if p < len(own.cells):
            model, task_type = own.names[p]
            streams = watch.place(own.target, model, task_type)
            return *streams, math.log(own.watched.threshold), own.target, model, task_type, own.watched.slack, own.half_life
        p -= len(own.cells)
    raise AssertionError("every place is one of these")


def _in_order(watching: Sequence[Watching]) -> Any:
    """One tuple for every value of all targets, in the order of the log."""
    offset = np.cumsum([0, *(len(own.cells) for own in watching)])
    item = np.concatenate([own.looked.item for own in watching])
    order = np.argsort(item)

    def column(*parts: Any) -> list[Any]:
        found: list[Any] = np.concatenate(parts)[order].tolist()
        return found

    return zip(
        column(item),
        column(*(own.own + first for own, first in zip(watching, offset.tolist(), strict=False))),
        column(*(own.looked.clock for own in watching)),
        column(*(own.gains for own in watching)),
        column(*(own.expected for own in watching)),
        column(*(own.sd for own in watching)),
        column(*(own.sums[0] for own in watching)),
        column(*(own.sums[1] for own in watching)),
        column(*(own.sums[2] for own in watching)),
        column(*(own.looked.now for own in watching)),
        column(*(own.looked.value for own in watching)),
        column(*(own.looked.weight for own in watching)),
        column(*(own.looked.voice for own in watching)),
        column(*(own.looked.row for own in watching)),
        column(*(own.slope for own in watching)),
        strict=True,
    )


def _finish(touched: Sequence[deque[Any]], features: FloatArray) -> None:
    """Replace the numbers of rows in what was kept by the features that they stand for."""
    for kept in touched:
        for i in range(len(kept) - 1, -1, -1):
            old = kept[i]
            if type(old) is Kept:
                break
            kept[i] = Kept._make((*old[:10], features[old[10]].copy()))
