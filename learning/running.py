"""Running sums: what the sums of every cell were before each of its observations, added up in the order of the log."""

from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.features import N_FEATURES

_I, _J = (index.astype(np.int64) for index in np.triu_indices(N_FEATURES))
_PAIRS = len(_I)
"""Columns of packed sums: the upper triangle of x x', then y x, y y and the plain weight."""
_MOMENT, _SQUARE, _LABELS = slice(_PAIRS, _PAIRS + N_FEATURES), _PAIRS + N_FEATURES, _PAIRS + N_FEATURES + 1
_WIDTH = _PAIRS + N_FEATURES + 2


PACKED = _WIDTH


def pack(gram: FloatArray, moment: FloatArray, square: FloatArray, labels: FloatArray) -> FloatArray:
    """(n, d, d), (n, d), (n,) and (n,) sums of n cells as (n, w) columns."""
    return np.concatenate([gram[:, _I, _J], moment, square[:, None], labels[:, None]], axis=1)


def unpack(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The reverse."""
    gram = np.empty((len(sums), N_FEATURES, N_FEATURES))
    gram[:, _I, _J] = gram[:, _J, _I] = sums[:, :_PAIRS]
    return gram, sums[:, _MOMENT], sums[:, _SQUARE], sums[:, _LABELS]


@dataclass(frozen=True, slots=True)
class Products:
    """What the features of a stretch of the log contribute; columns that are zero throughout are left out."""

    features: FloatArray
    """(m, a) the ones in use."""
    products: FloatArray
    """(m, p) of two features."""
    columns: IntArray
    """(p + a + 2,) where each belongs."""

    @classmethod
    def of(cls, features: FloatArray) -> "Products":
        """Those of (m, d) features."""
        used = (features != 0.0).any(axis=0)
        both = np.flatnonzero(used[_I] & used[_J])
        products = features[:, _I[both]] * features[:, _J[both]]
        some = (products != 0.0).any(axis=0)
        columns = np.concatenate([both[some], _PAIRS + np.flatnonzero(used), [_SQUARE, _LABELS]])
        return cls(features[:, used], products[:, some], columns)

    def weighed(self, row: IntArray, value: FloatArray, weight: FloatArray, plain: FloatArray) -> FloatArray:
        """(n, columns) contributions of n observations: features, value, weight with decay, and without."""
        p, a = self.products.shape[1], self.features.shape[1]
        out = np.empty((len(row), p + a + 2))
        column, y = weight[:, None], value[:, None]
        np.multiply(self.products[row], column, out=out[:, :p])
        np.multiply(self.features[row] * column, y, out=out[:, p : p + a])
        out[:, p + a] = weight * value * value
        out[:, p + a + 1] = plain
        return out


class Running:
    """Sums of n observations by group.

    Parameters
    ----------
    group : IntArray
        (n,)
    initial : FloatArray
        (G, w) packed sums before the first, of each group in ascending order.
    contributions, columns : FloatArray, IntArray
        What each adds, (n, c), and to which columns, (c,).
    """

    def __init__(self, group: IntArray, initial: FloatArray, contributions: FloatArray, columns: IntArray) -> None:
        self.groups, self._rank, count = np.unique(group, return_inverse=True, return_counts=True)
        self._initial, self._columns = initial, columns
        n, G = len(group), len(self.groups)
        order = np.argsort(self._rank, kind="stable")
        end = np.cumsum(count + 1)
        self._start = end - count - 1
        self._row = np.empty(n, dtype=np.int64)
        self._row[order] = np.arange(n) + self._rank[order] + 1
        sums = np.empty((n + G, len(columns)))
        sums[self._start] = initial[:, columns]
        sums[self._row] = contributions
        for first, last in zip(self._start.tolist(), end.tolist(), strict=True):
            np.add.accumulate(sums[first:last], axis=0, out=sums[first:last])
        self._sums = sums
        self._place = np.full(_WIDTH, -1)
        self._place[columns] = np.arange(len(columns))

    def column(self, which: int, of: IntArray) -> FloatArray:
        """(k,) one packed sum before each of some observations (k,)."""
        place = self._place[which]
        found: FloatArray = self._initial[self._rank[of], which] if place < 0 else self._sums[self._row[of] - 1, place]
        return found

    def before(self, of: IntArray) -> FloatArray:
        """(k, w) all packed sums before each of some observations (k,)."""
        found = self._initial[self._rank[of]]
        found[:, self._columns] = self._sums[self._row[of] - 1]
        return found

    def weight(self, of: IntArray) -> FloatArray:
        """(k,) weight before each of some observations."""
        return self.column(0, of)

    def level(self, of: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(k, d) sums of the features, (k,) of the values and of their squares."""
        column = np.stack([self.column(i, of) for i in range(N_FEATURES)], axis=1)
        return column, self.column(_PAIRS, of), self.column(_SQUARE, of)

    def after(self, count: int) -> tuple[IntArray, FloatArray]:
        """The groups that the first ``count`` observations touch, and their packed sums after those."""
        many = np.bincount(self._rank[:count], minlength=len(self.groups))
        some = many > 0
        sums = self._initial[some]
        sums[:, self._columns] = self._sums[(self._start + many)[some]]
        return self.groups[some], sums
