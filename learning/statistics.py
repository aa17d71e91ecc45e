"""Additive sufficient statistics: the part of the learned state that is data and nothing else.

For every (model, task type) cell with evidence and every target they hold the weighted normal equations. They add, subtract and
merge; the prior is kept apart and is never discounted. Everything else (posteriors, hyper-parameters, rules) is derived from them.

An observation made at log position ``clock`` weighs ``weight * 2 ** ((clock - anchor) / half_life)``; reading multiplies by
``2 ** (-(now - anchor) / half_life)``. The weight depends on the decision's own position, so that any order of arrival gives the same
sums and idle time forgets nothing.

A cell that is cut (its model has changed) keeps a share of what was observed before a log position. The rule goes by the decision's
position too, so that what arrives late, or is taken back later, weighs what it would have weighed.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.errors import InvalidContext
from learning.features import N_FEATURES, SCHEMA_VERSION
from learning.index import Index
from learning.observations import Call, Observation
from learning.targets import PRIORS, Target
from learning.text_sums import Heard
from learning.voices import PLAIN, Agreement, Sums, Voice, Voices

N_TARGETS = len(Target)
_MAX_HALF_LIVES = 40.0
MAX_FEATURE = 10.0


class Statistics(Index):
    """Weighted sums per cell.

    Attributes
    ----------
    gram : FloatArray
        ``(N_TARGETS, n_cells, N_FEATURES, N_FEATURES)``, sum of w x x'.
    moment : FloatArray
        ``(N_TARGETS, n_cells, N_FEATURES)``, sum of w y x.
    square : FloatArray
        ``(N_TARGETS, n_cells)``, sum of w y y.
    labels : FloatArray
        ``(N_TARGETS, n_cells)``, sum of undecayed weights.
    calls, failures : FloatArray
        ``(n_models,)``, decayed counts.

    The quality sums are fused over voices: see ``learning.voices``.

    Parameters
    ----------
    half_life : float
        Log records after which a quality score counts half.
    trusted : sequence of str
        Judges that others are measured by.
    """

    def __init__(self, half_life: float, trusted: Sequence[str] = ()) -> None:
        super().__init__()
        if not (math.isfinite(half_life) and half_life > 0):
            raise InvalidContext("half_life must be a positive number of log records")
        self.half_life = half_life
        self.anchor = 0
        self.now = 0
        """Highest clock folded."""
        self.seq = 0
        """Log position up to which the log is folded."""
        self.folded = 0
        """Observations folded, retractions included."""
        self.cuts: dict[tuple[int, int], list[tuple[int, float]]] = {}
        """By (target, cell): log positions and the share of what was observed before each that is kept."""
        self.voices = Voices(trusted)
        self._allocate(16, 8)

    def _allocate(self, cells: int, models: int) -> None:
        d = N_FEATURES
        self._gram = np.zeros((N_TARGETS, cells, d, d))
        self._moment = np.zeros((N_TARGETS, cells, d))
        self._square = np.zeros((N_TARGETS, cells))
        self._labels = np.zeros((N_TARGETS, cells))
        self._calls = np.zeros(models)
        self._failures = np.zeros(models)

    @classmethod
    def restore(
        cls,
        *,
        half_life: float,
        position: tuple[int, int, int, int],
        models: Sequence[str],
        task_types: Sequence[str],
        cells: tuple[Sequence[int], Sequence[int]],
        sums: Mapping[str, FloatArray],
    ) -> "Statistics":
        """Rebuild from saved parts; ``position`` is (anchor, now, seq, folded), ``sums`` the six arrays by attribute name."""
        statistics = cls(half_life)
        statistics.anchor, statistics.now, statistics.seq, statistics.folded = position
        for model in models:
            statistics.model_index(model)
        for m, t in zip(*cells, strict=True):
            statistics.cell(models[m], task_types[t])
        for name, values in sums.items():
            getattr(statistics, name)[...] = values
        return statistics

    @property
    def gram(self) -> FloatArray:
        return self._gram[:, : self.n_cells]

    @property
    def moment(self) -> FloatArray:
        return self._moment[:, : self.n_cells]

    @property
    def square(self) -> FloatArray:
        return self._square[:, : self.n_cells]

    @property
    def labels(self) -> FloatArray:
        return self._labels[:, : self.n_cells]

    @property
    def calls(self) -> FloatArray:
        return self._calls[: len(self.models)]

    @property
    def failures(self) -> FloatArray:
        return self._failures[: len(self.models)]

    def model_index(self, model: str) -> int:
        index = super().model_index(model)
        if index == len(self._calls):
            self._calls = np.concatenate([self._calls, np.zeros(index)])
            self._failures = np.concatenate([self._failures, np.zeros(index)])
        return index

    def cell(self, model: str, task_type: str) -> int:
        index = super().cell(model, task_type)
        if index == self._square.shape[1]:
            self._gram, self._moment, self._square, self._labels = (
                np.concatenate([a, np.zeros_like(a)], axis=1) for a in (self._gram, self._moment, self._square, self._labels)
            )
            self.voices.grow()
        return index

    def decay(self, target: Target) -> float:
        """Factor that turns the stored sums of a target into sums as of now."""
        return float(2.0 ** (-(self.now - self.anchor) / self.half_life_of(target)))

    @property
    def reach(self) -> float:
        """Log records from the anchor on after which the sums are anchored anew."""
        return _MAX_HALF_LIVES * self.half_life * min(p.half_life_share for p in PRIORS)

    def weights(self, target: Target, clock: IntArray) -> FloatArray:
        """(n,) what observations made at log positions (n,) weigh, beside their own weight; none may lie beyond ``reach``."""
        return _powers((clock - self.anchor) / self.half_life_of(target))

    def decays(self, target: Target, now: IntArray) -> FloatArray:
        """(n,) ``decay`` as of log positions (n,)."""
        return _powers(-(now - self.anchor) / self.half_life_of(target))

    def half_life_of(self, target: Target) -> float:
        """Log records after which a value of a target counts half."""
        return self.half_life * PRIORS[target].half_life_share

    def _weigh(self, clock: int, target: Target) -> float:
        if clock > self.now:
            self.now = clock
            if clock - self.anchor > self.reach:
                self._reanchor(clock)
        return float(2.0 ** ((clock - self.anchor) / self.half_life_of(target)))

    def _reanchor(self, clock: int) -> None:
        for target in Target:
            factor = 2.0 ** (-(clock - self.anchor) / self.half_life_of(target))
            for sums in (self._gram, self._moment, self._square):
                sums[target] *= factor
        factor = 2.0 ** (-(clock - self.anchor) / self.half_life_of(Target.QUALITY))
        self._calls *= factor
        self._failures *= factor
        self.voices.scale(factor)
        self.anchor = clock

    def add(self, observation: Observation) -> int:
        """Fold one observation and return its cell.

        Raises
        ------
        InvalidContext
            A number is not finite, or the features have the wrong shape or are out of range.
        """
        x, y = observation.features, observation.value
        if x.shape != (N_FEATURES,):
            raise InvalidContext(f"features have shape {x.shape}, schema {SCHEMA_VERSION} expects ({N_FEATURES},)")
        if not (math.isfinite(y) and math.isfinite(observation.weight) and np.abs(x).max() <= MAX_FEATURE):
            raise InvalidContext(f"value, weight and features must be finite, and |feature| <= {MAX_FEATURE:g}")
        target = observation.target
        cell = self.cell(observation.model, observation.task_type)
        weight = observation.weight * self._weigh(observation.clock, target)
        for before, share in self.cuts.get((target, cell), ()):
            if observation.clock < before:
                weight *= share
        if target is Target.QUALITY:
            voice = self.voices.enter(observation.voice, self._fused())
            if self.voices.several:
                y, weight = self.voices.add(voice, cell, observation.model, x, y, weight)
        self._gram[target, cell] += weight * (x[:, None] * x)
        self._moment[target, cell] += (weight * x) * y
        self._square[target, cell] += weight * y * y
        self._labels[target, cell] += observation.weight
        self.folded += 1
        return cell

    def restarted(self, target: Target, cell: int) -> int:
        """Log position of a cell's last cut, 0 where there was none."""
        cuts = self.cuts.get((target, cell))
        return cuts[-1][0] if cuts else 0

    def cut(self, target: Target, cell: int, before: int, share: float, since: Sequence[Observation]) -> None:
        """Keep a share of what a cell observed before a log position.

        Parameters
        ----------
        since : sequence of Observation
            What the cell has folded from that position on: kept whole.
        """
        if target is Target.QUALITY and self.voices.several:
            said = {voice: self._sums_of(target, [o for o in since if o.voice == voice]) for voice in {o.voice for o in since}}
            self.voices.cut(cell, share, said)
            self._fuse(np.array([cell]))
        else:
            whole = self._sums_of(target, since)
            for mine, new in zip((self._gram, self._moment, self._square), whole, strict=True):
                mine[target, cell] = share * (mine[target, cell] - new[0]) + new[0]
        self.cuts.setdefault((int(target), cell), []).append((before, share))

    def _sums_of(self, target: Target, observations: Sequence[Observation]) -> Sums:
        """Sums of some observations of one cell, as said."""
        new = Sums.empty(1)
        for o in observations:
            weight = o.weight * float(2.0 ** ((o.clock - self.anchor) / self.half_life_of(target)))
            new.gram[0] += weight * (o.features[:, None] * o.features)
            new.moment[0] += (weight * o.features) * o.value
            new.square[0] += weight * o.value * o.value
        return new

    def _fused(self) -> Sums:
        q = Target.QUALITY
        return Sums(self._gram[q], self._moment[q], self._square[q])

    def _fuse(self, cells: IntArray) -> None:
        """Rebuild the fused quality sums of some cells from what each voice said."""
        fused = self.voices.fuse(cells, [self.models[m] for m in self.cell_model[cells]])
        for mine, new in zip(self._fused(), fused, strict=True):
            mine[cells] = new

    def agree(self, agreement: Agreement) -> None:
        """Fold an answer that a judge shares with a trusted one."""
        self.voices.agree(agreement, agreement.weight * self._weigh(agreement.clock, Target.QUALITY))

    def agree_all(self, agreements: Sequence[Agreement]) -> None:
        """``agree`` of many, none beyond ``reach`` nor later than what was folded."""
        decayed = self.weights(Target.QUALITY, np.array([agreement.clock for agreement in agreements], dtype=np.int64)).tolist()
        weights = [agreement.weight * weight for agreement, weight in zip(agreements, decayed, strict=True)]
        self.voices.agree_all(agreements, weights)

    def weigh_voices(self, noise: FloatArray) -> None:
        """Learn anew what every voice is worth, and rebuild the quality sums accordingly; ``noise`` (C,) is that of each cell."""
        self.voices.weigh(self.models, self.cell_model, noise, self.decay(Target.QUALITY))
        self._fuse(np.arange(self.n_cells))

    def heard(self, voice: Voice, models: Sequence[str]) -> Heard:
        """What a voice's scores of some models count as of the last time that this was learned, whatever the task type."""
        offset, slope, worth = self.voices.known(voice, models)
        cells = self.cell_model[: len(worth)]
        count, total = (np.bincount(cells, weights, minlength=len(self.models)) for weights in (np.ones(len(worth)), worth))
        mean = np.divide(total, count, out=np.ones(len(total)), where=count > 0)
        places = [self._model_index.get(model, -1) for model in models]
        return Heard(offset, slope, np.array([mean[place] if place >= 0 else 1.0 for place in places]))

    def said(self, target: Target, cell: int, voice: Voice) -> tuple[FloatArray, FloatArray, float]:
        """Sums of one cell, as one voice said: gram (d, d), moment (d,), square."""
        gram, moment, square = (
            self.voices.sums_of(voice)
            if target is Target.QUALITY and self.voices.several
            else (self._gram[target], self._moment[target], self._square[target])
        )
        return gram[cell], moment[cell], float(square[cell])

    def held(self, target: Target) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The sums of a target themselves: gram, moment, square and labels, a row for every cell."""
        return self._gram[target], self._moment[target], self._square[target], self._labels[target]

    def add_calls(self, model: IntArray, clock: IntArray, failed: FloatArray) -> None:
        """Count finished calls, (n,) each; ``model`` are indices, and no call may lie beyond ``reach``."""
        if not len(model):
            return
        weight = self.weights(Target.QUALITY, clock)
        which = np.concatenate([np.arange(len(self._calls)), model])  # bincount adds up in order, from what there was
        self._calls = np.bincount(which, np.concatenate([self._calls, weight])).astype(np.float64)
        self._failures = np.bincount(which, np.concatenate([self._failures, weight * failed])).astype(np.float64)

    def add_call(self, call: Call) -> None:
        """Count one finished call."""
        index = self.model_index(call.model)
        weight = self._weigh(call.clock, Target.QUALITY)
        self._calls[index] += weight
        self._failures[index] += weight * call.failed

    def merge(self, other: "Statistics") -> None:
        """Add the evidence of another fold with the same half-life.

        Raises
        ------
        InvalidContext
            The half-lives differ.
        """
        if other.half_life != self.half_life:
            raise InvalidContext(f"half-lives differ: {self.half_life:g} and {other.half_life:g} records")
        if self.voices.several or {*self.voices.names, *other.voices.names} - {PLAIN}:
            raise InvalidContext("statistics with several voices do not merge; fold their logs together")
        if other.anchor > self.anchor:
            self._reanchor(other.anchor)
        for target in Target:
            factor = 2.0 ** (-(self.anchor - other.anchor) / self.half_life_of(target))
            for c in range(other.n_cells):
                cell = self.cell(other.models[other.cell_model[c]], other.task_types[other.cell_task[c]])
                self._gram[target, cell] += factor * other.gram[target, c]
                self._moment[target, cell] += factor * other.moment[target, c]
                self._square[target, cell] += factor * other.square[target, c]
                self._labels[target, cell] += other.labels[target, c]
        factor = 2.0 ** (-(self.anchor - other.anchor) / self.half_life_of(Target.QUALITY))
        for m, model in enumerate(other.models):
            index = self.model_index(model)
            self._calls[index] += factor * other.calls[m]
            self._failures[index] += factor * other.failures[m]
        for (target_index, c), cuts in other.cuts.items():
            cell = self.cell(other.models[other.cell_model[c]], other.task_types[other.cell_task[c]])
            self.cuts[target_index, cell] = sorted({*self.cuts.get((target_index, cell), ()), *cuts})
        self.now = max(self.now, other.now)
        self.seq = max(self.seq, other.seq)
        self.folded += other.folded

    def canonical_order(self) -> tuple[Sequence[int], Sequence[int]]:
        """Models with calls and cells with evidence, sorted by name, so that the order of arrival does not show."""
        models = sorted(np.flatnonzero(self.calls).tolist(), key=self.models.__getitem__)
        cells = sorted(range(self.n_cells), key=lambda c: (self.models[self.cell_model[c]], self.task_types[self.cell_task[c]]))
        return models, cells

    def digest(self) -> str:
        """Hex BLAKE2b of the state up to ``seq``: equal folds of the same log have equal digests."""
        models, cells = self.canonical_order()
        h = hashlib.blake2b(digest_size=16)
        h.update(f"{SCHEMA_VERSION}|{self.seq}|{self.anchor}|{self.now}|{self.half_life!r}|{self.folded}".encode())
        h.update("\0".join(self.models[m] for m in models).encode())
        h.update("\0".join(f"{self.models[self.cell_model[c]]}\1{self.task_types[self.cell_task[c]]}" for c in cells).encode())
        for sums in (self.gram, self.moment, self.square, self.labels):
            h.update(np.ascontiguousarray(sums[:, cells]).tobytes())
        for counts in (self.calls, self.failures):
            h.update(np.ascontiguousarray(counts[models]).tobytes())
        for part in self.voices.digest_parts(cells):
            h.update(part)
        return h.hexdigest()


def _powers(exponents: FloatArray) -> FloatArray:
    """(n,) powers of two, to the same bits as one by one: numpy's own depend on the processor."""
    return np.array([2.0**exponent for exponent in exponents.tolist()])
