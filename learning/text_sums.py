"""Sums over scores of tasks whose texts were read: kept as each voice said them, and read as each is found worth.

With y = a + b score for what a voice's score of a model is mapped to, and omega for what it weighs (``learning.voices``), everything that
``learning.text`` fits follows from sums of the scores' own powers: a voice that turns out to lie, or a judge to be biased, is taken out
again of what it has said before. What is taken back is subtracted as it was added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from learning.arrays import FloatArray
from learning.projection import DIMENSIONS

D = DIMENSIONS


class Heard(NamedTuple):
    """What a voice's scores of K models count: ``offset + slope * score``, ``omega`` times."""

    offset: FloatArray
    """(K,)"""
    slope: float
    omega: FloatArray
    """(K,)"""


@dataclass
class Said:
    """What one voice said, by model (K), task type (T) and both; weighed, as of the anchor.

    y stands for its score, p for what was expected without the text, z for the text, o for what was foretold of the model's own part and
    q for p and the shared part together.
    """

    count: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 3)))
    """(K, T, 3): 1, y, p"""
    text: FloatArray = field(default_factory=lambda: np.zeros((0, 0, D)))
    """(K, T, D): z"""
    gram: FloatArray = field(default_factory=lambda: np.zeros((0, D, D)))
    """(K, D, D): z z'"""
    moment: FloatArray = field(default_factory=lambda: np.zeros((0, 2, D)))
    """(K, 2, D): y z, p z"""
    square: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """(K, 3): y y, p p, y p"""
    trial: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 9)))
    """(K, T, 9): o, o y, o q, o o, o o y, o o q, o o y y, o o y q, o o q q"""

    def grow(self, models: int, tasks: int) -> None:
        """Make room."""
        for name, shape in (
            ("count", (models, tasks, 3)), ("text", (models, tasks, D)), ("gram", (models, D, D)),
            ("moment", (models, 2, D)), ("square", (models, 3)), ("trial", (models, tasks, 9)),
        ):  # fmt: skip
            old = getattr(self, name)
            setattr(self, name, np.pad(old, [(0, want - have) for want, have in zip(shape, old.shape, strict=True)]))

    def scale(self, factor: float) -> None:
        """Multiply everything."""
        for values in vars(self).values():
            values *= factor

    def add(self, places: Sequence[tuple[int, int]], terms: "Terms") -> None:
        """Add the terms of n scores in their order."""
        for (m, t), count, text, gram, moment, square, trial in zip(places, *terms, strict=True):
            self.count[m, t] += count
            self.text[m, t] += text
            self.gram[m] += gram
            self.moment[m] += moment
            self.square[m] += square
            self.trial[m, t] += trial


class Terms(NamedTuple):
    """What n scores add to each of the sums."""

    counts: FloatArray
    text: FloatArray
    gram: FloatArray
    moment: FloatArray
    square: FloatArray
    trial: FloatArray

    @classmethod
    def of(cls, w: FloatArray, z: FloatArray, y: FloatArray, p: FloatArray, shared: FloatArray, own: FloatArray) -> "Terms":
        """Of scores y (n,) with weights, texts z (n, D), and what was foretold, (n,) each."""
        q, o, weighed = p + shared, own, w[:, None] * z
        oo = o * o
        return cls(
            w[:, None] * np.stack([np.ones(len(w)), y, p], axis=1),
            weighed,
            weighed[:, :, None] * z[:, None, :],
            np.stack([(w * y)[:, None] * z, (w * p)[:, None] * z], axis=1),
            w[:, None] * np.stack([y * y, p * p, y * p], axis=1),
            w[:, None] * np.stack([o, o * y, o * q, oo, oo * y, oo * q, oo * y * y, oo * y * q, oo * q * q], axis=1),
        )

    def take(self, which: Sequence[int]) -> "Terms":
        """Of some of the scores."""
        return Terms(*(values[which] for values in self))


@dataclass(frozen=True, slots=True)
class Fused:
    """What all voices say together, r being a mapped score less what was expected without the text."""

    count: FloatArray
    """(K, T)"""
    text: FloatArray
    """(K, T, D)"""
    residual: FloatArray
    """(K, T)"""
    gram: FloatArray
    """(K, D, D)"""
    moment: FloatArray
    """(K, D): r z"""
    square: FloatArray
    """(K,): r r"""
    trial: FloatArray
    """(T, 4): n, sum o (r - s), sum o^2, sum o^2 (r - s)^2"""


def fused(told: Iterable[tuple[Said, Heard]], models: int, tasks: int) -> Fused:
    """The sums of K models and T task types, each voice's as it is heard."""
    total = Fused(
        np.zeros((models, tasks)), np.zeros((models, tasks, D)), np.zeros((models, tasks)), np.zeros((models, D, D)),
        np.zeros((models, D)), np.zeros(models), np.zeros((tasks, 4)),
    )  # fmt: skip
    for said, (a, b, omega) in told:
        n, y, p = np.moveaxis(said.count, 2, 0)
        yz, pz = said.moment[:, 0], said.moment[:, 1]
        yy, pp, yp = said.square.T
        o, oy, oq, oo, ooy, ooq, ooyy, ooyq, ooqq = np.moveaxis(said.trial, 2, 0)
        by_type, c = omega[:, None], a[:, None]
        total.count[...] += by_type * n
        total.text[...] += by_type[:, :, None] * said.text
        total.residual[...] += by_type * (c * n + b * y - p)
        total.gram[...] += omega[:, None, None] * said.gram
        total.moment[...] += by_type * (c * said.text.sum(axis=1) + b * yz - pz)
        total.square[...] += omega * (
            a * a * n.sum(axis=1) + b * b * yy + pp + 2.0 * a * (b * y.sum(axis=1) - p.sum(axis=1)) - 2.0 * b * yp
        )
        spread = c * c * oo + b * b * ooyy + ooqq + 2.0 * c * (b * ooy - ooq) - 2.0 * b * ooyq
        for column, values in enumerate((n, c * o + b * oy - oq, oo, spread)):
            total.trial[:, column] += (by_type * values).sum(axis=0)
    return total
