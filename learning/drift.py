"""Change-point detection: has a model changed, where, when, and how sure is that?

Every (model, task type) cell and, over its task types, every model is watched for quality, output tokens and latency. A stream of
values y, each against the cell's own evidence before it, as the same voice gave it (mean mu(x) with the cell's slopes, variance v of n
values), feeds e-processes for "higher" and "lower" and three sizes l of change, in standard deviations:

    pass or fail, in any shape in [0, 1]     e = 1 + b (y - p)              b = l / sqrt(p (1 - p)), capped so that e > 0
    everything steadier, and log quantities  e = exp(l (|z| - a) - l^2/2)   z = clip((y - mu) / sqrt(1.1 v (1 + 2/n)), -3, 3)

The first has expectation 1 under *every* law in [0, 1] with mean p; a is a change too small to matter. The e-CUSUM M <- max(M, 1) e alarms
when the mean of the three M exceeds the threshold c. It restarts at every M <= 1, and the last restart estimates the time of the change.
A CUSUM of e-values lies below the e-detector of Shiryaev and Roberts, so that a stream without a change alarms on average no more
often than once in c of its own values, and the whole fleet no more often than once in c / 2 values looked at, twice (cell and model).

Nothing here depends on what is published of a model, on fitted variances or on the time of a fit: the log alone decides.

Recursive residuals, z with the mean *before* y, are uncorrelated also while the mean is being learned; no alarm is raised on fewer
than ``_LEAST_REFERENCE`` values.

References: e-detectors, arXiv:2203.03532; betting on bounded means, arXiv:2010.09686.
"""

import hashlib
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from learning.arrays import FloatArray
from learning.detectors import FIRM_REFERENCE, LEAST_REFERENCE, SLOPES_EVERY, SUSPICION, Stream, compare, fit_slopes
from learning.features import N_FEATURES
from learning.observations import Observation
from learning.statistics import Statistics
from learning.targets import Target
from learning.voices import Voice

_LEAST_SINCE = 4
"""Values that a change must rest on."""
_Z90 = 1.6448536269514722
_INCIDENTS_KEPT = 200
PATIENCE = 1_800
"""Log records for which a changed model is explored more and its incident stays open: 600 decisions with outcome and score."""


@dataclass(frozen=True, slots=True)
class Watched:
    """How one target is watched."""

    threshold: float
    """Values between two alarms of one steady stream, at least."""
    slack: float
    """a: standard deviations that do not matter."""
    kept: int
    """Latest values kept of a cell, to restart from."""


WATCHED: Mapping[Target, Watched] = {
    Target.QUALITY: Watched(3e4, 0.1, 32),
    Target.OUTPUT_TOKENS: Watched(1e6, 0.25, 12),
    Target.LATENCY: Watched(1e6, 0.5, 12),
}


@dataclass(frozen=True, slots=True)
class Level:
    """A mean with its 90 % interval, in the target's units (natural logarithms but for quality)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Incident:
    """A model has changed."""

    model: str
    task_type: str | None
    """None: on its task types taken together."""
    target: Target
    opened: int
    """Log position of the decision that gave it away."""
    since: int
    """Estimated log position of the change."""
    before: Level
    """What was expected of the calls since."""
    after: Level
    """What they brought up to the latest alarm; read when it was most striking, so the truth may lie a little nearer to ``before``."""
    log10_e: float
    """Evidence against "nothing has changed": base-10 logarithm of the e-value."""
    last: int
    """Log position of the latest alarm; the estimate has settled once ``PATIENCE`` records have passed without another."""
    alarms: int = 1
    closed: int | None = None
    """Log position at which the estimate had settled."""

    @property
    def rose(self) -> bool:
        """Whether the target went up."""
        return self.after.mean > self.before.mean


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a detector says at the moment it fires; ``task_type`` None for a whole model."""

    model: str
    task_type: str | None
    target: Target
    at: int
    since: int
    log10_e: float
    shift: float
    """Mean change in standard deviations."""


class Kept(NamedTuple):
    """One of a cell's latest values, with what was expected of it and what its cell held before it."""

    clock: int
    voice: Voice
    n: float
    """Weight, sum and sum of squares of the cell's values before this one, as of ``now``; -1 where the cell was cut since."""
    total: float
    square: float
    now: int
    value: float
    weight: float
    expected: float
    sd: float
    features: FloatArray


Place = tuple[Target, str, str | None]
"""Target, model and task type; None: the model as a whole."""


class Watch:
    """Detectors of one learner: a deterministic part of its fold, in the order of the log.

    Parameters
    ----------
    watched : mapping, optional
        How each target is watched; one that is not in it is not.
    """

    def __init__(self, watched: Mapping[Target, Watched] = WATCHED) -> None:
        self.watched = watched
        self.incidents: list[Incident] = []
        """Oldest first, the latest ``_INCIDENTS_KEPT``."""
        self.streams: dict[Place, Stream] = {}
        self.kept: dict[tuple[Target, str, str], deque[Kept]] = {}

    def look(self, statistics: Statistics, observation: Observation) -> Alarm | None:
        """Compare a value with what its cell held before it; call this before the value is folded."""
        target = observation.target
        watched = self.watched.get(target)
        if watched is None or observation.weight <= 0 or observation.correction:
            return None
        model, task_type, clock = observation.model, observation.task_type, observation.clock
        m, t = statistics.find_model(model), statistics.find_task(task_type)
        cell = None if m is None or t is None else statistics.find_cell(m, t)
        if cell is None or clock < statistics.restarted(target, cell):
            return None
        decay = statistics.decay(target)
        gram, moment, square = statistics.said(target, cell, observation.voice)
        column: list[float] = gram[:, 0].tolist()
        n = column[0] * decay
        if n < LEAST_REFERENCE:
            return None
        own, whole, kept = self.place(target, model, task_type)
        if own.age % SLOPES_EVERY == 0:
            own.slopes = fit_slopes(target, (gram * decay)[None], (moment * decay)[None])[0].tolist()
        own.age += 1
        slope = own.slope(observation.features.tolist(), column)
        before = n, float(moment[0]) * decay, square * decay
        sums = before
        if own.top > SUSPICION or whole.top > SUSPICION:
            sums = self.unsuspected(before, own, whole, kept, observation.voice, statistics.now, statistics.half_life_of(target))
        expected, sd, gains = compare(target, observation.value, sums, slope, watched.slack)
        weight = observation.weight
        if weight < 1.0:
            gains = [weight * gain for gain in gains]
        kept.append(
            Kept(clock, observation.voice, *before, statistics.now, observation.value, weight, expected, sd, observation.features.copy())
        )
        log_threshold = math.log(watched.threshold)
        for scope, stream in ((task_type, own), (None, whole)):
            stream.step(gains, clock)
            if stream.top > log_threshold:
                alarm = self.alarm((target, model, scope), stream, clock)
                if alarm is not None:
                    return alarm
        return None

    def place(self, target: Target, model: str, task_type: str) -> tuple[Stream, Stream, "deque[Kept]"]:
        """The streams of a cell and of its model, and the cell's latest values; made where there are none."""
        own = self.streams.get((target, model, task_type))
        if own is None:
            own = self.streams[target, model, task_type] = Stream()
            self.streams.setdefault((target, model, None), Stream())
            self.kept[target, model, task_type] = deque(maxlen=self.watched[target].kept)
        return own, self.streams[target, model, None], self.kept[target, model, task_type]

    @staticmethod
    def unsuspected(
        sums: tuple[float, float, float],
        own: Stream,
        whole: Stream,
        kept: "deque[Kept]",
        voice: Voice,
        now: int,
        half_life: float,
    ) -> tuple[float, float, float]:
        """A cell's sums as they were before the values since a suspected change, which would draw the comparison towards themselves."""
        since = suspected_since(own, whole)
        for old in kept:
            if old[0] >= since and old[1] == voice and old[2] > 0.0:
                return reference((old[2], old[3], old[4]), 2.0 ** (-(now - old[5]) / half_life)) or sums
        return sums

    def alarm(self, place: Place, stream: Stream, clock: int) -> Alarm | None:
        """The alarm of a stream, where it is one."""
        target, model, scope = place
        fired = stream.fired(math.log(self.watched[target].threshold))
        if fired is None:
            return None
        log_e, since = fired
        told = self._since(target, model, scope, since)
        if len(told) < _LEAST_SINCE:
            return None
        shift = math.fsum((k.value - k.expected) / k.sd for k in told) / len(told)
        return Alarm(model, scope, target, clock, since, log_e / math.log(10.0), shift)

    def _since(self, target: Target, model: str, task_type: str | None, since: int) -> list[Kept]:
        cells = [k for (g, m, t), k in self.kept.items() if g == target and m == model and task_type in (None, t)]
        return [k for kept in cells for k in kept if k[0] >= since]

    def values_since(self, target: Target, model: str, task_type: str, since: int) -> list[Observation]:
        """A cell's latest values from a log position on; the oldest may be lost."""
        return [
            Observation(target, model, task_type, k.features, k.value, k.clock, k.weight, voice=k.voice)
            for k in self.kept.get((target, model, task_type), ())
            if k.clock >= since
        ]

    def cut(self, target: Target, model: str, task_type: str) -> None:
        """Take note that a cell's sums are no longer what its latest values were compared with."""
        kept = self.kept.get((target, model, task_type))
        if kept is not None:
            self.kept[target, model, task_type] = deque([k._replace(n=-1.0) for k in kept], kept.maxlen)

    def note(self, alarm: Alarm) -> Incident:
        """Open an incident, or bring up to date the open one of the same model, place and target; start its detectors anew."""
        news = self._since(alarm.target, alarm.model, alarm.task_type, alarm.since)
        n = len(news)
        sd = math.sqrt(math.fsum(k.sd**2 for k in news)) / n
        before = _level(math.fsum(k.expected for k in news) / n, sd / 2.0, alarm.target)
        mean = math.fsum(k.value for k in news) / n
        if alarm.target is Target.QUALITY:  # scores that all agree are no proof of certainty
            mean = (mean * n + 0.5) / (n + 1.0)
            sd = max(sd, math.sqrt(max(mean * (1.0 - mean), 0.0) / (n + 1.0)))
        after = _level(mean, sd, alarm.target)
        for (target, model, scope), stream in self.streams.items():
            if (target, model) == (alarm.target, alarm.model) and (alarm.task_type is None or scope in (None, alarm.task_type)):
                stream.reset()
        for i, known in enumerate(self.incidents):
            same = (known.model, known.target) == (alarm.model, alarm.target) and known.task_type in (None, alarm.task_type)
            if same and alarm.at < known.last + PATIENCE:
                now = replace(known, after=after, last=alarm.at, log10_e=max(known.log10_e, alarm.log10_e), alarms=known.alarms + 1)
                self.incidents[i] = now
                return now
        opened = Incident(alarm.model, alarm.task_type, alarm.target, alarm.at, alarm.since, before, after, alarm.log10_e, alarm.at)
        self.incidents = [*self.incidents, opened][-_INCIDENTS_KEPT:]
        return opened

    def open(self, now: int) -> list[Incident]:
        """The incidents that have not settled at a log position."""
        return [i for i in self.incidents if now < i.last + PATIENCE]

    def told(self, now: int) -> list[Incident]:
        """All incidents as of a log position, oldest first."""
        return [replace(i, closed=i.last + PATIENCE) if now >= i.last + PATIENCE else i for i in self.incidents]

    def digest(self) -> str:
        """Hex BLAKE2b of the detectors and incidents."""
        streams = sorted(self.streams.items(), key=_by_name)
        h = hashlib.blake2b(repr(([key for key, _ in streams], self.incidents)).encode(), digest_size=16)
        h.update(np.array([[*stream.level, *stream.since] for _, stream in streams], dtype="<f8").tobytes())
        return h.hexdigest()

    def saved(self) -> tuple[dict[str, Any], FloatArray]:
        """Everything: JSON values, whose floats keep every bit, and one row of numbers for every value that is kept."""
        kept = sorted(self.kept.items())
        voices = sorted({k.voice for _, own in kept for k in own}, key=lambda v: (v.judge, v.source or ""))
        place = {voice: i for i, voice in enumerate(voices)}
        rows = [_row(k, place[k.voice]) for _, own in kept for k in own]
        facts = {
            "incidents": [asdict(i) for i in self.incidents],
            "streams": [[*key, s.level, s.since, s.slopes, s.age] for key, s in sorted(self.streams.items(), key=_by_name)],
            "kept": [[*key, len(own)] for key, own in kept],
            "voices": [list(voice) for voice in voices],
        }
        return facts, np.array(rows, dtype=np.float64).reshape(len(rows), _ROW)

    @classmethod
    def restore(cls, facts: Mapping[str, Any], rows: FloatArray) -> "Watch":
        """From what ``saved`` gave."""
        watch = cls()
        for fields in facts["incidents"]:
            levels = {name: Level(**fields[name]) for name in ("before", "after")}
            watch.incidents.append(Incident(**{**fields, **levels, "target": Target(fields["target"])}))
        for target, model, scope, level, since, slopes, age in facts["streams"]:
            watch.streams[Target(target), model, scope] = Stream(level, since, slopes, age, max(level))
        first = 0
        voices = [Voice(*name) for name in facts["voices"]]
        for target, model, task_type, count in facts["kept"]:
            place = Target(target), model, task_type
            watch.kept[place] = deque([_unrow(row, voices) for row in rows[first : first + count]], watch.watched[place[0]].kept)
            first += count
        return watch


def suspected_since(own: Stream, whole: Stream) -> int:
    """The log position from which on values may be those of a changed model."""
    return own.since_top() if own.top > whole.top else whole.since_top()


def reference(sums: tuple[float, float, float], factor: float) -> tuple[float, float, float] | None:
    """Sums of the past as of now, where they are firm enough to be compared with."""
    n, total, square = sums
    return (n * factor, total * factor, square * factor) if n * factor >= FIRM_REFERENCE else None


_ROW = 10 + N_FEATURES


def _row(kept: Kept, voice: int) -> list[float]:
    return [float(kept.clock), float(voice), *kept[2:5], float(kept.now), *kept[6:10], *kept.features.tolist()]


def _unrow(row: FloatArray, voices: Sequence[Voice]) -> Kept:
    clock, voice, n, total, square, now, value, weight, expected, sd = row[:10].tolist()
    return Kept(int(clock), voices[int(voice)], n, total, square, int(now), value, weight, expected, sd, row[10:].copy())


def _by_name(item: tuple[Place, Stream]) -> tuple[int, str, str]:
    target, model, scope = item[0]
    return target, model, "" if scope is None else "\0" + scope  # the model's own first


def _level(mean: float, sd: float, target: Target) -> Level:
    low, high = mean - _Z90 * sd, mean + _Z90 * sd
    if target is Target.QUALITY:
        low, high = min(max(low, 0.0), mean), max(min(high, 1.0), mean)
    return Level(mean, low, high)
