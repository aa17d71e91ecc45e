"""What the text of a task says of who does it well, where that has proven true.

On top of the estimate without text, r = y - q, a model's quality may depend on the projected text z of the task:

    r = a_mt + (z - z_t)' (v + w_m) + e,      v ~ N(0, .) shared by all models,  w_m ~ N(0, tau^2)  a model's own

a_mt takes up every difference between task types. The shared part is difficulty, which moves all models alike and cannot change a choice;
only w_m can. Before each score is known, its model's own part is foretold, and the log keeps that; when the score comes, both meet:

    slope b = sum o (r - s) / sum o^2,   o = z' w_m as foretold,  s = z' v as foretold

Noise in w_m makes b fall towards 0, so that b > 0 is evidence that text helps, from predictions that could not know the score. Decisions
use ``scale`` times o where an anytime-valid lower bound of b is above 0 (asymptotic confidence sequence, arXiv:2103.06476: it may be looked
at after every score) and the task type's own b is; everywhere else they are those without text, bit for bit.

All sums are of logged numbers, weighed by the decision's log position like those of ``learning.statistics``, and kept as each voice said
them (``learning.text_sums``): what is taken back is subtracted as it was added, and a score counts as the learner has found its voice to
be worth, as everywhere. The fitted parts change every few scores, by the number of scores alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.foretold import Foretold, code_of
from learning.projection import DIMENSIONS, vector_of
from learning.text_sums import Heard, Said, Terms, fused
from learning.voices import PLAIN, Voice

if TYPE_CHECKING:
    from learning.choice import Estimates

_TAU = 0.05
"""Prior standard deviation of a coefficient of w_m, in quality per standard deviation of a coordinate of z."""
_TAU_SHARED = 0.05
_TAU_WEIGHT = 1.0
"""Models that the prior of tau counts for."""
_NOISE = 0.15
_NOISE_LABELS = 50.0
_FIT_EVERY = 20
_FIT_SHARE = 50
"""A fit for every 20 scores, for every 2 % more at least."""
_MAX_HALF_LIVES = 40.0
_ALPHA = 0.2
"""Of the two-sided confidence sequence, of which the lower half is used."""
_TUNED = 1_000.0
"""Scores at which it is narrowest."""
_RHO2 = (-2 * math.log(_ALPHA) + math.log(-2 * math.log(_ALPHA) + 1)) / _TUNED
_D = DIMENSIONS
_SAVED = ("models", "task_types", "anchor", "now", "total", "since_fit")
_AT_ONCE = 500
"""Scores whose sums are worked out together: 8 kB each."""


@dataclass(frozen=True, slots=True)
class TextBelief:
    """What is believed of K models and T task types given a text: immutable."""

    shared: FloatArray
    """(D,) v"""
    own: FloatArray
    """(K, D) w_m"""
    centre: FloatArray
    """(T + 1, D) z_t"""
    scale: FloatArray
    """(T + 1,) factor on the models' own parts, 0 where text has not proven its worth."""

    def of(self, text: bytes, rows: IntArray, task: int) -> "TextShift":
        """What a text says of the models at ``rows`` (n,)."""
        z = vector_of(text) - self.centre[task]
        return TextShift(float(z @ self.shared), self.own[rows] @ z, float(self.scale[task]))


@dataclass(frozen=True, slots=True)
class TextShift:
    """What a text says of n models: points of quality."""

    shared: float
    own: FloatArray
    """(n,)"""
    scale: float

    def applied(self, estimates: "Estimates") -> "Estimates":
        """The estimates that a decision is taken from: the same ones unless text has proven its worth."""
        return replace(estimates, quality=estimates.quality + self.scale * self.own) if self.scale else estimates

    def foretold(self, text: bytes, plain: float, index: int, model: str) -> Foretold:
        """What to log of the model at ``index``; ``plain`` is its expected quality without text."""
        return Foretold(text, plain, self.shared, float(self.own[index]), code_of(model))


def no_shift(n: int) -> TextShift:
    """What a text says before anything was learned from texts."""
    return TextShift(0.0, np.zeros(n), 0.0)


@dataclass
class _Fit:
    """What follows from the sums as of the last fit."""

    shared: FloatArray = field(default_factory=lambda: np.zeros(_D))
    own: FloatArray = field(default_factory=lambda: np.zeros((0, _D)))
    centre: FloatArray = field(default_factory=lambda: np.zeros((0, _D)))
    scale: FloatArray = field(default_factory=lambda: np.zeros(0))
    variance: FloatArray = field(default_factory=lambda: np.array(_TAU**2))
    """tau^2"""


@dataclass(frozen=True, slots=True)
class TextScore:
    """The score of an answer whose task's text was read; a negative weight takes it back."""

    foretold: Foretold
    model: str
    task_type: str
    clock: int
    score: float
    weight: float
    voice: Voice = PLAIN
    """Who said so."""

    @property
    def tells(self) -> bool:
        """Whether the model served of which something was foretold."""
        return code_of(self.model) == self.foretold.model


Hearing = Callable[[Voice, Sequence[str]], Heard]
"""What a voice's scores of some models count, as of the last time that was learned."""


def as_said(_voice: Voice, models: Sequence[str]) -> Heard:
    """Every voice at its word."""
    return Heard(np.zeros(len(models)), 1.0, np.ones(len(models)))


class TextEvidence:
    """The evidence from texts of one kind; ``half_life`` in log records, as that of the scores."""

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.models: list[str] = []
        self.task_types: list[str] = []
        self.voices: list[Voice] = []
        self.anchor = self.now = self.total = self.since_fit = 0
        self._index: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._said: dict[Voice, Said] = {}
        self._fit = _Fit()

    def fold(self, score: TextScore, hearing: Hearing = as_said) -> None:
        """Take in what a score says; of ``hearing`` the fits make use."""
        self.fold_all([score], hearing)

    def fold_all(self, told: Sequence[TextScore], hearing: Hearing = as_said) -> None:
        """``fold`` of many scores in their order, to the same bits: what each adds is worked out together, from one fit to the next."""
        own = [one for one in told if one.tells]
        at = 0
        while at < len(own):
            more = 1
            while self.since_fit + more < (step := max(_FIT_EVERY, (self.total + more) // _FIT_SHARE)):
                more = step - self.since_fit
            part = own[at : at + min(more, _AT_ONCE)]
            if len(part) > 1 and max(one.clock for one in part) - self.anchor > self._reach:
                part = part[:1]  # sums that are anchored anew are so before the very score that asks for it
            self._fold_part(part)
            at += len(part)
            if self.since_fit >= max(_FIT_EVERY, self.total // _FIT_SHARE):
                self._refit(hearing)

    @property
    def _reach(self) -> float:
        return _MAX_HALF_LIVES * self.half_life

    def _fold_part(self, part: Sequence[TextScore]) -> None:
        """Fold scores none of which but the last calls for a fit, and of which one that calls for another anchor is alone."""
        places = [self._place(one) for one in part]
        self.now = max(self.now, *(one.clock for one in part))
        if self.now - self.anchor > self._reach:
            for said in self._said.values():
                said.scale(2.0 ** (-(self.now - self.anchor) / self.half_life))
            self.anchor = self.now
        foretold = [one.foretold for one in part]
        terms = Terms.of(
            np.array([one.weight * 2.0 ** ((one.clock - self.anchor) / self.half_life) for one in part]),
            np.array([vector_of(one.text) for one in foretold]),
            np.array([one.score for one in part]),
            np.array([one.plain for one in foretold]),
            np.array([one.shared for one in foretold]),
            np.array([one.own for one in foretold]),
        )
        by_voice: dict[Voice, list[int]] = {}
        for i, one in enumerate(part):
            by_voice.setdefault(one.voice, []).append(i)
        for voice, which in by_voice.items():
            self._said[voice].add([places[i] for i in which], terms if len(by_voice) == 1 else terms.take(which))
        self.total += len(part)
        self.since_fit += len(part)

    def _place(self, score: TextScore) -> tuple[int, int]:
        found = []
        for name, names, index in zip((score.model, score.task_type), (self.models, self.task_types), self._index, strict=True):
            if name not in index:
                index[name] = len(names)
                names.append(name)
            found.append(index[name])
        if score.voice not in self._said:
            self._said[score.voice] = Said()
            self.voices.append(score.voice)
        said = self._said[score.voice]
        if said.count.shape[:2] != (len(self.models), len(self.task_types)):
            said.grow(len(self.models), len(self.task_types))
        return found[0], found[1]

    def _refit(self, hearing: Hearing) -> None:
        """One step of empirical Bayes from the last fit."""
        self.since_fit = 0
        models, tasks = len(self.models), len(self.task_types)
        for said in self._said.values():
            said.grow(models, tasks)
        sums = fused([(said, hearing(voice, self.models)) for voice, said in self._said.items()], models, tasks)
        decay = float(2.0 ** (-(self.now - self.anchor) / self.half_life))
        share = 1.0 / np.maximum(sums.count, 1e-9)
        gram = decay * (sums.gram - np.einsum("ktd,kte->kde", sums.text * share[:, :, None], sums.text))
        moment = decay * (sums.moment - np.einsum("ktd,kt->kd", sums.text, sums.residual * share))
        labels = decay * float(sums.count.sum())
        error = decay * float(sums.square.sum() - (sums.residual**2 * share).sum())
        noise = (_NOISE_LABELS * _NOISE + max(error, 0.0)) / (_NOISE_LABELS + max(labels, 0.0))
        variance, unit = float(self._fit.variance), np.eye(_D)
        shared = np.linalg.solve(gram.sum(axis=0) / noise + unit / _TAU_SHARED**2, moment.sum(axis=0) / noise)
        covariance = np.linalg.inv(gram / noise + unit / variance)
        own = (covariance @ ((moment - gram @ shared) / noise)[:, :, None])[:, :, 0]
        live = sums.count.sum(axis=1) > 0
        squares = float((own[live] ** 2).sum() + np.einsum("kii->", covariance[live]))
        centre = sums.text.sum(axis=0) / np.maximum(sums.count.sum(axis=0), 1e-9)[:, None]
        tau2 = (_TAU_WEIGHT * _D * _TAU**2 + squares) / ((_TAU_WEIGHT + live.sum()) * _D)
        self._fit = _Fit(shared, own, centre, _scale(decay * sums.trial), np.array(tau2))

    @property
    def fitted(self) -> object:
        """Another one after every fit."""
        return self._fit

    def belief(self, models: Sequence[str], task_types: Sequence[str]) -> TextBelief:
        """As of the last fit, for these models and task types and one that was never seen."""
        fit, (m_index, t_index) = self._fit, self._index
        own, centre, scale = np.zeros((len(models), _D)), np.zeros((len(task_types) + 1, _D)), np.zeros(len(task_types) + 1)
        for i, model in enumerate(models):
            if (m := m_index.get(model, len(fit.own))) < len(fit.own):
                own[i] = fit.own[m]
        for i, task_type in enumerate(task_types):
            if (t := t_index.get(task_type, len(fit.centre))) < len(fit.centre):
                centre[i], scale[i] = fit.centre[t], fit.scale[t]
        return TextBelief(fit.shared, own, centre, scale)

    def saved(self, prefix: str) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """What a snapshot keeps: a JSON-ready header, and arrays by their names behind ``prefix``."""
        header = {name: getattr(self, name) for name in _SAVED} | {"voices": [list(voice) for voice in self.voices]}
        arrays = {f"fit.{name}": values for name, values in vars(self._fit).items()}
        for v, said in enumerate(self._said.values()):
            arrays |= {f"said.{v}.{name}": values for name, values in vars(said).items()}
        return header, {prefix + name: values for name, values in arrays.items()}

    @classmethod
    def restore(cls, half_life: float, header: Mapping[str, Any], arrays: Mapping[str, FloatArray], prefix: str) -> "TextEvidence":
        """Rebuild from what was saved."""
        made = cls(half_life)
        for name in _SAVED:
            setattr(made, name, header[name])
        made.voices = [Voice(*voice) for voice in header["voices"]]
        made._index = ({m: i for i, m in enumerate(made.models)}, {t: i for i, t in enumerate(made.task_types)})
        for v, voice in enumerate(made.voices):
            made._said[voice] = Said(**{name: arrays[f"{prefix}said.{v}.{name}"] for name in Said.__dataclass_fields__})
        made._fit = _Fit(**{name: arrays[f"{prefix}fit.{name}"] for name in vars(made._fit)})
        return made

    def digest(self) -> str:
        """Of everything that the log determines."""
        header, arrays = self.saved("")
        h = blake2b(repr(sorted(header.items())).encode(), digest_size=16)
        for name in sorted(arrays):
            h.update(np.ascontiguousarray(arrays[name]).tobytes())
        return h.hexdigest()


def _scale(trial: FloatArray) -> FloatArray:
    """(T,) factor on the models' own parts: the slope over all task types less one standard error, where text is proven to help."""
    n, product, square, spread = trial.sum(axis=0).tolist()
    if n <= 0.0 or product <= 0.0 or square <= 0.0:
        return np.zeros(len(trial))
    a = n * _RHO2
    needed = math.sqrt(2.0 * (a + 1.0) / a * math.log(math.sqrt(a + 1.0) / _ALPHA))
    error = math.sqrt(max(spread, 0.0))
    if product <= needed * error:
        return np.zeros(len(trial))
    return np.where(trial[:, 1] > 0.0, min(1.0, (product - error) / square), 0.0)
