"""Who said how good an answer was: scores kept apart by judge and source, so that each can be weighed by what it has proved worth.

A *voice* is one judge heard through one source (an API key). While there is one voice it is taken at its word. From the second on, each
voice's raw sums are kept beside the fused ones that the posterior reads,

    fused = sum over voices of  omega_vc * (score mapped to a_j + b_jm score),

and whenever the common part is refitted three things are learned anew and the fused sums rebuilt from the raw ones:

calibration
    Where a trusted judge scored the same answers, judge j is regressed on it (``learning.calibration``). Its scores then count
    s^2 / (s^2 + v_j) of a trusted one, v_j being its residual variance, and at most what a bias of variance Var(b_jm) leaves to learn: it
    does not average out. A judge without common answers is shifted by what its scores of the same models and task types differ from the
    reference's.
trust and cap
    What one source says counts by how far it agrees with all others (``learning.trust``).

Everything is a function of the raw sums at the time of a refit, hence of the log. Taking a score back takes it out of the raw sums, so
that the learned state is what it would be had it never been given.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.calibration import Calibration, regress
from learning.features import N_FEATURES
from learning.foretold import Foretold
from learning.trust import capped, trusted

_SHIFT_SD = 0.1
"""Of the offset of a judge that shares no answers with another."""
_MOST_VOICES = 48


class Voice(NamedTuple):
    """One judge heard through one source."""

    judge: str = ""
    source: str | None = None
    """Id of the API key; None where there is none."""


PLAIN = Voice()
"""The voice of evidence that names none."""
_OTHERS = Voice("*")
"""All voices beyond the ones that are kept apart."""


class Sums(NamedTuple):
    """Raw sums of one voice: gram (C, d, d), moment (C, d), square (C,)."""

    gram: FloatArray
    moment: FloatArray
    square: FloatArray

    @classmethod
    def empty(cls, cells: int) -> "Sums":
        """Nothing yet in ``cells`` cells."""
        return cls(np.zeros((cells, N_FEATURES, N_FEATURES)), np.zeros((cells, N_FEATURES)), np.zeros(cells))


@dataclass(frozen=True, slots=True)
class Score:
    """What one judge said of an answer, through one source."""

    judge: str
    source: str | None
    value: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A change of what judges say of one answer: all their scores before it and after it."""

    model: str
    task_type: str
    features: FloatArray
    """(d,)"""
    clock: int
    """Log position of the decision."""
    before: Sequence[Score]
    after: Sequence[Score]
    foretold: Foretold | None = None
    """What the decision made of the text of its task, where it read that."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge and a trusted one scored the same answer; a negative weight takes it back."""

    judge: str
    model: str
    score: float
    trusted: float
    clock: int
    weight: float = 1.0


_AS_SAID = Calibration()
_PAIR = 6
"""n, sum s, sum y, sum ss, sum sy, sum yy"""


class Voices:
    """The raw sums of every voice and what each is worth.

    Parameters
    ----------
    trusted : collection of str
        Judges whose scores are taken as the truth about an answer.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self.trusted = frozenset(trusted)
        self._trust: dict[str, bool] = {}
        self.names: list[Voice] = []
        self._index: dict[Voice, int] = {}
        self.sums: list[Sums] = []
        """By voice; empty while there is only one, whose sums are the fused ones."""
        self.worth: list[FloatArray] = []
        """By voice (C,): the omega of every cell at the last refit; cells made since count in full."""
        self.pairs: dict[tuple[str, str], FloatArray] = {}
        """By (judge, model): sums over shared answers, weighed like scores."""
        self.calibrations: dict[str, Calibration] = {}

    def trusts(self, judge: str) -> bool:
        """Whether a judge is trusted, by its name or by what stands before the version in it (``code@1``)."""
        known = self._trust.get(judge)
        if known is None:
            known = self._trust[judge] = judge in self.trusted or judge.partition("@")[0] in self.trusted
        return known

    @property
    def several(self) -> bool:
        """Whether there is more than one voice."""
        return len(self.names) > 1

    def enter(self, voice: Voice, fused: Sums) -> int:
        """Index of a voice, made where it is new; ``fused`` are the sums that the only voice so far has had to itself."""
        index = self._index.get(voice)
        if index is not None:
            return index
        if len(self.names) == _MOST_VOICES - 1:
            voice = _OTHERS
        elif len(self.names) == _MOST_VOICES:
            return self._index[_OTHERS]
        index = self._index[voice] = len(self.names)
        self.names.append(voice)
        if index == 1:
            self.sums.append(Sums(*(values.copy() for values in fused)))
        if index >= 1:
            self.sums.append(Sums.empty(len(fused.square)))
        self.worth.append(np.ones(0))
        return index

    def find(self, voice: Voice) -> int | None:
        """Index of a voice that was heard, or of those that share a place where it has none of its own; else None."""
        index = self._index.get(voice)
        return self._index[_OTHERS] if index is None and len(self.names) == _MOST_VOICES else index

    def placed(self, voice: Voice) -> Voice:
        """The voice itself, or the one of all those that have no place of their own."""
        index = self.find(voice)
        return voice if index is None else self.names[index]

    def grow(self) -> None:
        """Make room for twice as many cells."""
        self.sums = [Sums(*(np.concatenate([a, np.zeros_like(a)]) for a in own)) for own in self.sums]

    def add(self, voice: int, cell: int, model: str, x: FloatArray, y: float, weight: float) -> tuple[float, float]:
        """Fold a score into its voice's raw sums; returns the value and the weight with which it enters the fused ones."""
        gram, moment, square = self.sums[voice]
        gram[cell] += weight * (x[:, None] * x)
        moment[cell] += (weight * x) * y
        square[cell] += weight * y * y
        calibration = self.calibrations.get(self.names[voice].judge, _AS_SAID)
        worth = self.worth[voice]
        return calibration.mapped(model) + calibration.slope * y, weight * (float(worth[cell]) if cell < len(worth) else 1.0)

    def mapped(
        self,
        voice: IntArray,
        models: Sequence[str],
        model: IntArray,
        cell: IntArray,
        value: FloatArray,
        weight: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """What ``add`` returns, of n scores by index of voice, model and cell, (n,) each."""
        y, w = np.empty_like(value), np.empty_like(weight)
        for v in np.unique(voice).tolist():
            own = voice == v
            calibration, worth = self.calibrations.get(self.names[v].judge, _AS_SAID), self.worth[v]
            offset = np.array([calibration.mapped(m) for m in models])
            omega = np.ones(max(int(cell.max()) + 1, len(worth)))
            omega[: len(worth)] = worth
            y[own] = offset[model[own]] + calibration.slope * value[own]
            w[own] = weight[own] * omega[cell[own]]
        return y, w

    def sums_of(self, voice: Voice) -> Sums:
        """Raw sums of a voice, of those that share a place where it has none of its own."""
        index = self._index.get(voice, self._index.get(_OTHERS))
        return self.sums[index] if index is not None else Sums.empty(len(self.sums[0].square))

    def known(self, voice: Voice, models: Sequence[str]) -> tuple[FloatArray, float, FloatArray]:
        """As of the last refit: the offset of a voice's scores by model and their slope, and its omega by cell."""
        index = self.find(voice)
        if index is None:
            return np.zeros(len(models)), 1.0, np.ones(0)
        calibration = self.calibrations.get(self.names[index].judge, _AS_SAID)
        return np.array([calibration.mapped(m) for m in models]), calibration.slope, self.worth[index]

    def agree(self, agreement: Agreement, weight: float) -> None:
        """Fold an answer that a judge shares with a trusted one."""
        s, y = agreement.score, agreement.trusted
        sums = self.pairs.setdefault((agreement.judge, agreement.model), np.zeros(_PAIR))
        sums += weight * np.array([1.0, s, y, s * s, s * y, y * y])

    def agree_all(self, agreements: Sequence[Agreement], weights: Sequence[float]) -> None:
        """``agree`` of many, in their order."""
        sums: dict[tuple[str, str], list[float]] = {}
        for agreement, w in zip(agreements, weights, strict=True):
            key, s, y = (agreement.judge, agreement.model), agreement.score, agreement.trusted
            own = sums.get(key)
            if own is None:
                own = sums[key] = self.pairs.setdefault(key, np.zeros(_PAIR)).tolist()
            own[0] += w
            own[1] += w * s
            own[2] += w * y
            own[3] += w * (s * s)
            own[4] += w * (s * y)
            own[5] += w * (y * y)
        for key, own in sums.items():
            self.pairs[key][:] = own

    def scale(self, factor: float) -> None:
        """Multiply everything that decays."""
        for own in self.sums:
            for values in own:
                values *= factor
        for sums in self.pairs.values():
            sums *= factor

    def cut(self, cell: int, share: float, since: Mapping[Voice, Sums]) -> None:
        """Keep a share of a cell's sums but for what ``since``, in one cell by voice, tells of the time after the change."""
        for name, own in zip(self.names, self.sums, strict=True):
            for mine, whole in zip(own, since.get(name, Sums.empty(1)), strict=True):
                mine[cell] = share * (mine[cell] - whole[0]) + whole[0]

    def shares(self, scores: Sequence[Score]) -> list[tuple[Score, float]]:
        """The scores of one answer that count, with their weights: one label however many judges spoke, trusted ones alone if any did."""
        spoke = [s for s in scores if s.weight > 0]
        heard = [s for s in spoke if self.trusts(s.judge)] or spoke
        if len(heard) == 1:
            return [(heard[0], heard[0].weight)]
        total = math.fsum(s.weight for s in heard)
        return [(s, s.weight / total * max(h.weight for h in heard)) for s in heard]

    def agreements(self, scores: Sequence[Score], model: str, clock: int, sign: float) -> list[Agreement]:
        """What the scores of one answer tell of its judges, where a trusted one is among them."""
        truth = [s for s in scores if self.trusts(s.judge) and s.weight > 0]
        if not truth:
            return []
        mean = math.fsum(s.value * s.weight for s in truth) / math.fsum(s.weight for s in truth)
        return [Agreement(s.judge, model, s.value, mean, clock, sign) for s in scores if s.weight > 0 and not self.trusts(s.judge)]

    def fuse(self, cells: IntArray, model: Sequence[str]) -> Sums:
        """Fused sums of some cells, (n,) indices, ``model`` (n,) the model of each."""
        total = Sums.empty(len(cells))
        for name, own, worth in zip(self.names, self.sums, self.worth, strict=True):
            calibration = self.calibrations.get(name.judge, _AS_SAID)
            offset = np.array([calibration.mapped(m) for m in model])
            omega = np.ones(len(cells))
            known = cells < len(worth)
            omega[known] = worth[cells[known]]
            gram, moment, square = (values[cells] for values in own)
            slope, column = calibration.slope, gram[:, :, 0]
            total.gram[...] += omega[:, None, None] * gram
            total.moment[...] += omega[:, None] * (offset[:, None] * column + slope * moment)
            total.square[...] += omega * (offset**2 * column[:, 0] + 2.0 * offset * slope * moment[:, 0] + slope**2 * square)
        return total

    def weigh(self, model: Sequence[str], cell_model: IntArray, noise: FloatArray, decay: float) -> None:
        """Learn anew what every voice is worth.

        Parameters
        ----------
        model : sequence of str
            Names, by index.
        cell_model : IntArray
            (C,) index of each cell's model.
        noise : FloatArray
            (C,) variance of one score around its expectation.
        decay : float
            What turns the stored sums into sums as of now.
        """
        cells = len(cell_model)
        count = np.array([np.maximum(own.gram[:cells, 0, 0], 0.0) * decay for own in self.sums])
        total = np.array([own.moment[:cells, 0] * decay for own in self.sums])
        self._calibrate(decay)
        self._shift(count, total, noise)
        mapped = np.empty_like(total)
        worth = np.empty_like(count)
        for v, name in enumerate(self.names):
            calibration = self.calibrations.get(name.judge, _AS_SAID)
            offset = np.array([calibration.mapped(m) for m in model])[cell_model]
            mapped[v] = offset * count[v] + calibration.slope * total[v]
            own = np.array([n.judge == name.judge for n in self.names])
            left = np.array([(calibration.bias_var or {}).get(m, 0.0) for m in model])[cell_model]
            worth[v] = noise / (noise + calibration.noise_var) / (1.0 + count[own].sum(axis=0) * left / noise)
        sources = sorted({name.source or "" for name in self.names})
        if len(sources) > 1:
            of_source = np.array([[(name.source or "") == source for name in self.names] for source in sources], dtype=np.float64)
            heard = of_source @ (worth * count)
            trust = trusted(heard, of_source @ (worth * mapped), cell_model, len(model), noise)
            worth *= of_source.T @ (trust * capped(heard * trust))
        self.worth = list(worth)

    def _calibrate(self, decay: float) -> None:
        judges = sorted({judge for judge, _ in self.pairs})
        self.calibrations = {}
        for judge in judges:
            own = {m: np.maximum(sums, 0.0) * decay for (j, m), sums in sorted(self.pairs.items()) if j == judge}
            found = regress(own)
            if found is not None:
                self.calibrations[judge] = found

    def _shift(self, count: FloatArray, total: FloatArray, noise: FloatArray) -> None:
        """Offsets of the judges that share no answer with a trusted one, against the cells that both have scored."""
        judges = sorted({name.judge for name in self.names})
        of = {judge: np.array([name.judge == judge for name in self.names]) for judge in judges}
        known = [j for j in judges if self.trusts(j) and count[of[j]].sum() > 0]
        reference = known or [max(judges, key=lambda j: (count[of[j]].sum(), j))]
        mask = np.any([of[j] for j in reference], axis=0)
        n_ref, y_ref = count[mask].sum(axis=0), total[mask].sum(axis=0)
        for judge in judges:
            if judge in reference or judge in self.calibrations:
                continue
            n, y = count[of[judge]].sum(axis=0), total[of[judge]].sum(axis=0)
            both = (n > 0) & (n_ref > 0)
            weight = 1.0 / (noise[both] * (1.0 / n[both] + 1.0 / n_ref[both]))
            gap = y_ref[both] / n_ref[both] - y[both] / n[both]
            self.calibrations[judge] = Calibration(offset=float((weight * gap).sum() / (weight.sum() + _SHIFT_SD**-2)))

    def saved(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """JSON values and arrays that ``restore`` takes."""
        cells = len(self.sums[0].square) if self.sums else 0
        worth = [np.concatenate([w, np.ones(cells - len(w))]) for w in self.worth] if self.several else []
        facts = {
            "trusted": sorted(self.trusted),
            "names": [list(name) for name in self.names],
            "pairs": [list(key) for key in sorted(self.pairs)],
            "weighed": [len(w) for w in self.worth],
            "calibrations": {
                j: [c.offset, c.slope, c.noise_var, dict(c.bias or {}), dict(c.bias_var or {}), c.shared]
                for j, c in sorted(self.calibrations.items())
            },
        }
        d = N_FEATURES
        arrays = {
            "voice_gram": np.array([own.gram for own in self.sums]).reshape(len(self.sums), cells, d, d),
            "voice_moment": np.array([own.moment for own in self.sums]).reshape(len(self.sums), cells, d),
            "voice_square": np.array([own.square for own in self.sums]).reshape(len(self.sums), cells),
            "voice_worth": np.array(worth).reshape(len(worth), cells),
            "pairs": np.array([self.pairs[key] for key in sorted(self.pairs)]).reshape(len(self.pairs), _PAIR),
        }
        return facts, arrays

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> "Voices":
        """From what ``saved`` gave."""
        voices = cls(facts["trusted"])
        voices.names = [Voice(*name) for name in facts["names"]]
        voices._index = {name: i for i, name in enumerate(voices.names)}
        raw = (arrays["voice_gram"], arrays["voice_moment"], arrays["voice_square"])
        voices.sums = [Sums(*(values[v].copy() for values in raw)) for v in range(len(raw[0]))]
        voices.worth = [np.ones(0) for _ in voices.names]
        for v, weighed in enumerate(facts["weighed"]):
            if voices.several:
                voices.worth[v] = arrays["voice_worth"][v][:weighed].copy()
        voices.pairs = {(j, m): sums.copy() for (j, m), sums in zip(facts["pairs"], arrays["pairs"], strict=True)}
        voices.calibrations = {j: Calibration(*parts) for j, parts in facts["calibrations"].items()}
        return voices

    def digest_parts(self, cells: Sequence[int]) -> list[bytes]:
        """What the log determines, as bytes, ``cells`` in an order of their own; nothing while there is one voice."""
        if not self.several and not self.pairs:
            return []
        voices = sorted(range(len(self.names)), key=lambda v: (self.names[v].judge, self.names[v].source or ""))
        parts = [repr([self.names[v] for v in voices] + sorted(self.pairs)).encode()]
        if self.several:
            parts += [np.ascontiguousarray(values[cells]).tobytes() for v in voices for values in self.sums[v]]
        return parts + [self.pairs[key].tobytes() for key in sorted(self.pairs)]
