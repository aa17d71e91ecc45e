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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from learning.arrays import FloatArray
from learning.features import EXPECTED_OUTPUT, N_FEATURES
from learning.statistics import Observation, Statistics
from learning.targets import PRIORS, Target
from learning.voices import Voice

_SIZES = (0.25, 0.5, 1.0)
_LEAST_REFERENCE = 20.0
"""Weight of the evidence a value is compared with."""
_FIRM_REFERENCE = 70.0
"""The same, for a comparison that leaves out suspected values: it no longer averages out its own error."""
_SUSPICION = 2.0
"""Logarithm of the e-value from which on the values since the last restart are left out of what new ones are compared with."""
_LEAST_SINCE = 4
"""Values that a change must rest on."""
_CLIP = 3.0
_STEADY = 0.5
"""Scores with less than this share of the variance of pass or fail at their mean are compared by their own variance."""
_VARIANCE_LABELS = 2.0
"""Pseudo-values of the prior's noise in a cell's variance."""
_SLOPES_EVERY = 16
"""Values of a cell after which its slopes are fitted anew."""
_CAUTION = 1.1
"""Factor on variances that are estimated."""
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


@dataclass(slots=True)
class _Stream:
    """Logarithms of the e-CUSUMs, three sizes downwards and three upwards, and where each restarted last; a cell's slopes and their age."""

    level: list[float] = field(default_factory=lambda: [0.0] * 6)
    since: list[int] = field(default_factory=lambda: [0] * 6)
    slopes: FloatArray = field(default_factory=lambda: np.zeros(N_FEATURES - 1))
    age: int = 0

    def step(self, gains: Sequence[float], clock: int) -> None:
        level, since = self.level, self.since
        for i, gain in enumerate(gains):
            if level[i] <= 0.0:
                level[i], since[i] = gain, clock
            else:
                level[i] += gain

    def fired(self, log_threshold: float) -> tuple[float, int] | None:
        """Log e-value and estimated start of the change, where a side's mean over the sizes passes the threshold."""
        for side in (0, 3):
            own = self.level[side : side + 3]
            top = max(own)
            if top > log_threshold:
                log_e = top + math.log(sum(math.exp(x - top) for x in own) / 3.0)
                if log_e > log_threshold:
                    return log_e, self.since[side + own.index(top)]
        return None

    def top(self) -> tuple[float, int]:
        """The highest of the six, and where it restarted last."""
        level = max(self.level)
        return level, self.since[self.level.index(level)]

    def reset(self) -> None:
        self.level = [0.0] * 6


@dataclass(frozen=True, slots=True)
class _Kept:
    """One of a cell's latest values, with what was expected of it."""

    observation: Observation
    expected: float
    sd: float


class Watch:
    """Detectors of one learner: a deterministic part of its fold, in the order of the log.

    Parameters
    ----------
    watched : mapping, optional
        How each target is watched; one that is not in it is not.
    """

    def __init__(self, watched: Mapping[Target, Watched] = WATCHED) -> None:
        self._watched = watched
        self.incidents: list[Incident] = []
        """Oldest first, the latest ``_INCIDENTS_KEPT``."""
        self._streams: dict[tuple[Target, str, str | None], _Stream] = {}
        self._kept: dict[tuple[Target, str, str], list[_Kept]] = {}

    def look(self, statistics: Statistics, observation: Observation) -> Alarm | None:
        """Compare a value with what its cell held before it; call this before the value is folded."""
        target = observation.target
        watched = self._watched.get(target)
        if watched is None or observation.weight <= 0 or observation.correction:
            return None
        model, task_type, clock = observation.model, observation.task_type, observation.clock
        m, t = statistics.find_model(model), statistics.find_task(task_type)
        cell = None if m is None or t is None else statistics.find_cell(m, t)
        if cell is None or clock < statistics.restarted(target, cell):
            return None
        decay = statistics.decay(target)
        gram, moment, square = statistics.said(target, cell, observation.voice)
        column = gram[:, 0]
        n = float(column[0]) * decay
        if n < _LEAST_REFERENCE:
            return None
        own = self._streams.setdefault((target, model, task_type), _Stream())
        if own.age % _SLOPES_EVERY == 0:
            own.slopes = _slopes(target, gram * decay, moment * decay)
        own.age += 1
        slope = float(own.slopes @ (observation.features - column / column[0])[1:])
        sums = n, float(moment[0]) * decay, square * decay
        whole = self._streams.setdefault((target, model, None), _Stream())
        kept = self._kept.setdefault((target, model, task_type), [])
        suspected, since = max(own.top(), whole.top())
        if suspected > _SUSPICION:
            news = [k.observation for k in kept if k.observation.clock >= since and k.observation.voice == observation.voice]
            sums = _without(sums, statistics, news)
        expected, sd, gains = _compare(observation, sums, slope, watched.slack)
        if observation.weight < 1.0:
            gains = [observation.weight * gain for gain in gains]
        log_threshold = math.log(watched.threshold)
        kept.append(_Kept(observation, expected, sd))
        if len(kept) > watched.kept:
            del kept[0]
        for scope, stream in ((task_type, own), (None, whole)):
            stream.step(gains, clock)
            fired = stream.fired(log_threshold)
            if fired is not None:
                log_e, since = fired
                told = self._since(target, model, scope, since)
                if len(told) < _LEAST_SINCE:
                    continue
                shift = math.fsum((k.observation.value - k.expected) / k.sd for k in told) / len(told)
                return Alarm(model, scope, target, clock, since, log_e / math.log(10.0), shift)
        return None

    def _since(self, target: Target, model: str, task_type: str | None, since: int) -> list[_Kept]:
        cells = [k for (g, m, t), k in self._kept.items() if g == target and m == model and task_type in (None, t)]
        return [k for kept in cells for k in kept if k.observation.clock >= since]

    def values_since(self, target: Target, model: str, task_type: str, since: int) -> list[Observation]:
        """A cell's latest values from a log position on; the oldest may be lost."""
        return [k.observation for k in self._kept.get((target, model, task_type), ()) if k.observation.clock >= since]

    def note(self, alarm: Alarm) -> Incident:
        """Open an incident, or bring up to date the open one of the same model, place and target; start its detectors anew."""
        news = self._since(alarm.target, alarm.model, alarm.task_type, alarm.since)
        n = len(news)
        sd = math.sqrt(math.fsum(k.sd**2 for k in news)) / n
        before = _level(math.fsum(k.expected for k in news) / n, sd / 2.0, alarm.target)
        mean = math.fsum(k.observation.value for k in news) / n
        if alarm.target is Target.QUALITY:  # scores that all agree are no proof of certainty
            mean = (mean * n + 0.5) / (n + 1.0)
            sd = max(sd, math.sqrt(max(mean * (1.0 - mean), 0.0) / (n + 1.0)))
        after = _level(mean, sd, alarm.target)
        for (target, model, scope), stream in self._streams.items():
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
        streams = sorted(self._streams.items(), key=_by_name)
        h = hashlib.blake2b(repr(([key for key, _ in streams], self.incidents)).encode(), digest_size=16)
        h.update(np.array([[*stream.level, *stream.since] for _, stream in streams], dtype="<f8").tobytes())
        return h.hexdigest()

    def saved(self) -> tuple[dict[str, Any], FloatArray]:
        """Everything: JSON values, whose floats keep every bit, and one row of numbers for every value that is kept."""
        kept = sorted(self._kept.items())
        voices = sorted({k.observation.voice for _, own in kept for k in own}, key=lambda v: (v.judge, v.source or ""))
        place = {voice: i for i, voice in enumerate(voices)}
        rows = [_row(k, place[k.observation.voice]) for _, own in kept for k in own]
        facts = {
            "incidents": [asdict(i) for i in self.incidents],
            "streams": [[*key, s.level, s.since, s.slopes.tolist(), s.age] for key, s in sorted(self._streams.items(), key=_by_name)],
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
            watch._streams[Target(target), model, scope] = _Stream(level, since, np.array(slopes), age)
        first = 0
        voices = [Voice(*name) for name in facts["voices"]]
        for target, model, task_type, count in facts["kept"]:
            place = Target(target), model, task_type
            watch._kept[place] = [_unrow(row, place, voices) for row in rows[first : first + count]]
            first += count
        return watch


_ROW = 6 + N_FEATURES


def _row(kept: _Kept, voice: int) -> list[float]:
    o = kept.observation
    return [o.value, float(o.clock), o.weight, kept.expected, kept.sd, float(voice), *o.features.tolist()]


def _unrow(row: FloatArray, place: tuple[Target, str, str], voices: Sequence[Voice]) -> _Kept:
    value, clock, weight, expected, sd, voice = row[:6].tolist()
    return _Kept(Observation(*place, row[6:].copy(), value, int(clock), weight, voice=voices[int(voice)]), expected, sd)


def _by_name(item: tuple[tuple[Target, str, str | None], _Stream]) -> tuple[int, str, str]:
    target, model, scope = item[0]
    return target, model, "" if scope is None else "\0" + scope  # the model's own first


def _slopes(target: Target, gram: FloatArray, moment: FloatArray) -> FloatArray:
    """(d - 1,) ridge regression of a cell's values on the features, around its means."""
    prior = PRIORS[target]
    column = gram[1:, 0]
    spread = gram[1:, 1:] - np.outer(column, column) / gram[0, 0]
    ridge = (prior.noise_sd / prior.common_slope_sd) ** 2
    start = np.zeros(N_FEATURES - 1)
    start[EXPECTED_OUTPUT - 1] = prior.expected_output_slope
    together = moment[1:] - column * moment[0] / gram[0, 0] + ridge * start
    slopes: FloatArray = np.linalg.solve(spread + ridge * np.eye(N_FEATURES - 1), together).astype(np.float64, copy=False)
    return slopes


def _without(
    sums: tuple[float, float, float], statistics: Statistics, suspected: Sequence[Observation]
) -> tuple[float, float, float]:
    """A cell's sums without the values since a suspected change, which would draw the comparison towards themselves."""
    n, total, square = sums
    for o in suspected:
        weight = statistics.weight_now(o)
        n, total, square = n - weight, total - weight * o.value, square - weight * o.value**2
    return (n, total, square) if n >= _FIRM_REFERENCE else sums


def _compare(observation: Observation, sums: tuple[float, float, float], slope: float, slack: float) -> tuple[float, float, list[float]]:
    """Expectation and standard deviation of a value, and the logarithms of its six e-values.

    ``sums`` are the weight, the sum and the sum of squares of its cell, ``slope`` what its features add to the cell's mean.
    """
    target, (n, total, square), y = observation.target, sums, observation.value
    mean = total / n
    prior = PRIORS[target].noise_sd ** 2
    variance = (n * max(square / n - mean**2, 0.0) + _VARIANCE_LABELS * prior) / (n + _VARIANCE_LABELS)
    if target is Target.QUALITY and 0.0 <= y <= 1.0:
        p = min(max((total + 1.0) / (n + 2.0) + slope, 0.01), 0.99)
        sd = math.sqrt(p * (1.0 - p))
        if variance > _STEADY * sd * sd:
            return p, sd, _bets(y, p, sd, slack)
    sd = math.sqrt(_CAUTION * variance * (1.0 + 2.0 / n))
    expected = mean + slope
    z = min(max((y - expected) / sd, -_CLIP), _CLIP)
    return expected, sd, [size * (side * z - slack) - size * size / 2.0 for side in (-1.0, 1.0) for size in _SIZES]


def _bets(y: float, p: float, sd: float, slack: float) -> list[float]:
    low, high = max(p - slack * sd, 0.01), min(p + slack * sd, 0.99)
    low_sd, high_sd = math.sqrt(low * (1.0 - low)), math.sqrt(high * (1.0 - high))
    down = [math.log1p(-min(size / low_sd, 0.9 / (1.0 - low)) * (y - low)) for size in _SIZES]
    return down + [math.log1p(min(size / high_sd, 0.9 / high) * (y - high)) for size in _SIZES]


def _level(mean: float, sd: float, target: Target) -> Level:
    low, high = mean - _Z90 * sd, mean + _Z90 * sd
    if target is Target.QUALITY:
        low, high = min(max(low, 0.0), mean), max(min(high, 1.0), mean)
    return Level(mean, low, high)
