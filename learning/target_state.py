"""One target's derived state: what follows from the sufficient statistics, kept in step with them.

Everything here is a function of the statistics, the fitted common part and the decay at the last fit, so that a restored state equals
the live one bit for bit.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.facts import likeness
from learning.features import N_FEATURES
from learning.hierarchy import Cells, Common, arm_posteriors, fit, inherited, pool_cells, start
from learning.posterior import TargetPosterior
from learning.statistics import Statistics
from learning.targets import PRIORS, Prior, Target

_FIRST_REFIT = 5
_REFIT_EVERY = 50


def _step(total: int) -> int:
    """Observations from one fit to the next: few at first, then 50 or 2 %."""
    return max(_FIRST_REFIT, min(_REFIT_EVERY, total // 10), total // 50)


class TargetState:
    """Derived arrays of one target, kept in step with the statistics."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.prior: Prior = PRIORS[target]
        self.common: Common = start(self.prior)
        self.decay = 1.0
        self.since_fit = 0
        self.total = 0
        self.covariate = np.zeros(0)
        self.elders: dict[int, list[int]] = {}
        """Of every newcomer with kin, those it starts from, in the order of joining; see ``learning.facts.elders``."""
        self.coefficients = np.zeros((0, N_FEATURES))
        self.covariance = np.zeros((0, N_FEATURES, N_FEATURES))
        self.precision = np.ones((0, N_FEATURES))
        self.shift = np.zeros(0)
        self.cells_of: list[list[int]] = []
        self.common_variance = np.zeros((0, 1))
        self.joint = np.zeros((0, 0))
        self.pulled = np.zeros((1, N_FEATURES))
        self.effect = np.zeros(1)
        self.cell_variance = np.array([self.common.cell_var])
        self.cell_information = np.zeros((1, N_FEATURES, N_FEATURES))
        self.cell_moment = np.zeros((1, N_FEATURES))
        self.dirty: set[int] = set()
        """Cells that changed since they were last read."""
        self.unspread: set[int] = set()
        """Models whose ``common_variance`` is behind: it costs as much as the rest, and only intervals need it."""
        self.published: TargetPosterior | None = None
        self.stale = True
        """Whether all of the above has to be worked out anew before it is read."""

    def take(self, count: int) -> list[int]:
        """Take note of further observations; after which of them, counted from 1, the common part should be refitted."""
        due, taken = [], 0
        while True:
            more = 1
            while self.since_fit + more < (step := _step(self.total + more)):
                more = step - self.since_fit
            if taken + more > count:
                break
            taken += more
            self.total += more
            self.since_fit = 0
            due.append(taken)
        self.total += count - taken
        self.since_fit += count - taken
        return due

    def refit(self, statistics: Statistics) -> None:
        """Refit the common part, which every model and cell follows when it is next read."""
        self.fit(statistics)
        self.since_fit = 0
        self.stale = True

    def fit(self, statistics: Statistics) -> None:
        """Read the statistics as of now and refit the common part."""
        self.decay = statistics.decay(self.target)
        if self.target is Target.QUALITY and statistics.voices.several:
            statistics.weigh_voices(self._fitted(statistics.cell_task)[1])
        if statistics.n_cells:
            self.common = fit(self._cells(statistics), self.covariate, self.prior, self.common)

    def _cells(self, statistics: Statistics) -> Cells:
        return Cells(
            gram=statistics.gram[self.target] * self.decay,
            moment=statistics.moment[self.target] * self.decay,
            square=statistics.square[self.target] * self.decay,
            model=statistics.cell_model,
            task=statistics.cell_task,
            n_models=len(statistics.models),
            n_tasks=len(statistics.task_types),
        )

    def _rebuild(self, statistics: Statistics) -> None:
        """Recompute every model and cell under the present common part."""
        cells = self._cells(statistics)
        K, C, d = cells.n_models, len(cells.model), N_FEATURES
        self.pulled = np.zeros((C + 1, d))
        self.effect = np.zeros(C + 1)
        self.cell_variance = np.full(C + 1, self.common.cell_var)
        self.cell_information = np.zeros((C + 1, d, d))
        self.cell_moment = np.zeros((C + 1, d))
        self.cells_of = [[] for _ in range(K)]
        for c in range(C):
            self.cells_of[cells.model[c]].append(c + 1)
        self.precision = np.tile(1.0 / self.common.model_var, (K, 1))
        self.shift = np.zeros(K)
        self.coefficients = np.zeros((K, d))
        self.covariance = np.zeros((K, d, d))
        self.common_variance = np.zeros((K, cells.n_tasks + 1))
        self._spread_common(cells.n_tasks + 1)
        self._set_cells(np.arange(C), cells.task, cells.gram, cells.moment)
        self._set_models(range(K))
        self.dirty.clear()
        self.published = None
        self.stale = False

    def _set_cells(self, cell: IntArray, task: IntArray, gram: FloatArray, moment: FloatArray) -> None:
        ease, noise = self._fitted(task)
        column = gram[:, :, 0]
        shifted = moment - ease[:, None] * column
        self.cell_information[cell + 1], self.cell_moment[cell + 1], shrink = pool_cells(gram, shifted, noise, self.common.cell_var)
        self.pulled[cell + 1] = shrink[:, None] * column
        self.effect[cell + 1] = shrink * shifted[:, 0]
        self.cell_variance[cell + 1] = shrink * noise

    def _fitted(self, task: IntArray) -> tuple[FloatArray, FloatArray]:
        """(n,) ease and noise of task types; those of a typical one where it came after the fit."""
        ease, noise = np.zeros(len(task)), np.full(len(task), self.common.pooled_noise)
        fitted = task < len(self.common.task)
        ease[fitted], noise[fitted] = self.common.task[task[fitted]], self.common.noise[task[fitted]]
        return ease, noise

    def _set_models(self, models: Iterable[int]) -> None:
        """Recompute models from their cells and their elders', so that a restored state equals the live one bit for bit."""
        which = set(models)
        for newcomer, before in self.elders.items():
            if not which.isdisjoint(before):
                which.add(newcomer)
        if plain := sorted(which.difference(self.elders)):
            self._solve(plain)
        for newcomer in self.elders:
            if newcomer in which:
                self._inherit(newcomer)
                self._solve([newcomer])
        if self.target is Target.QUALITY:  # the only one whose level is reported with what all models share
            self.unspread.update(which)

    def _solve(self, models: list[int]) -> None:
        own = [self.cells_of[m] for m in models]
        information = np.array([self.cell_information[c].sum(axis=0) for c in own])
        moment = np.array([self.cell_moment[c].sum(axis=0) for c in own])
        centre = np.tile(self.common.zeta, (len(models), 1))
        centre[:, 0] = self._level(models) + self.shift[models]
        self.coefficients[models], self.covariance[models] = arm_posteriors(information, moment, centre, self.precision[models])

    def _level(self, models: list[int]) -> FloatArray:
        """(n,) what the published facts say of models' levels."""
        level: FloatArray = self.common.zeta[0] + self.common.beta * self.covariate[models]
        return level

    def _inherit(self, newcomer: int) -> None:
        """Start a newcomer where the evidence of its elders puts it."""
        before = self.elders[newcomer]
        posterior, prior = 1.0 / self.covariance[before, 0, 0], self.precision[before, 0]
        moment = posterior * (self.coefficients[before, 0] - self._level(before)) - prior * self.shift[before]
        precision = np.maximum(posterior - prior, 0.0)
        self.shift[newcomer], variance = inherited(moment, precision, float(self.common.model_var[0]), likeness(self.target))
        self.precision[newcomer, 0] = 1.0 / variance

    def _spread_common(self, n_columns: int) -> None:
        """Covariance of (zeta, beta, b) with a column for every type; one seen after the fit, or never, brings its own ease."""
        known = len(self.common.covariance)
        self.joint = np.zeros((N_FEATURES + 1 + n_columns,) * 2)
        np.fill_diagonal(self.joint[known:, known:], self.common.task_var)
        self.joint[:known, :known] = self.common.covariance

    def _common_variance(self, models: Sequence[int], task: IntArray) -> FloatArray:
        """(n, T + 1) variance that the uncertain common part adds, at the intercept; ``task`` (C,) is that of every cell.

        With psi = e_0 - kappa * feature sums, a prediction follows (zeta, beta, b) by the vector L psi + psi_0 e_b, L (nz, d) per model.
        """
        n, columns, d = len(models), len(self.joint) - N_FEATURES - 1, N_FEATURES
        psi, level = np.zeros((n, columns, d)), np.zeros((n, columns, d))
        psi[:, :, 0] = 1.0
        for row, m in enumerate(models):
            own = np.array(self.cells_of[m], dtype=np.int64)
            psi[row, task[own - 1]] -= self.pulled[own]
            level[row, task[own - 1]] = self.cell_information[own, 0]
        gain = self.covariance[models]
        follow = np.empty((n, len(self.joint), d))
        follow[:, :d] = self.precision[models][:, :, None] * gain
        follow[:, d] = self.covariate[models, None] * follow[:, 0]
        follow[:, d + 1 :] = -(level @ gain)
        spread = self.joint @ follow
        both = (psi @ (follow.transpose(0, 2, 1) @ spread) * psi).sum(axis=2)
        cross = (spread[:, d + 1 :] * psi).sum(axis=2)
        ease = np.diag(self.joint)[d + 1 :]
        variance: FloatArray = both + 2 * psi[:, :, 0] * cross + psi[:, :, 0] ** 2 * ease
        return np.maximum(variance, 0.0)

    def update(self, statistics: Statistics, cell: int) -> None:
        """Take note that an observation changed a cell; refit where it is time."""
        if self.take(1):
            self.refit(statistics)
        elif not self.stale:
            self.extend(statistics)
            self.dirty.add(cell)

    def extend(self, statistics: Statistics) -> None:
        """Make room for cells and task types that are new, as if they had no evidence yet."""
        if self.stale:
            return
        have, want = len(self.effect) - 1, statistics.n_cells
        if want > have:
            new = want - have
            for name in ("pulled", "effect", "cell_information", "cell_moment"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((new, *old.shape[1:]))]))
            self.cell_variance = np.concatenate([self.cell_variance, np.zeros(new)])
            for c in range(have, want):
                self.cells_of[statistics.cell_model[c]].append(c + 1)
            added, d = np.arange(have, want), N_FEATURES
            self._set_cells(added, statistics.cell_task[added], np.zeros((new, d, d)), np.zeros((new, d)))
            self.published = None
        columns = len(statistics.task_types) + 1
        if columns > self.common_variance.shape[1]:
            self._spread_common(columns)
            self.common_variance = np.zeros((len(statistics.models), columns))
            self._set_models(range(len(statistics.models)))

    def refresh(self, statistics: Statistics) -> None:
        """Bring the cells that changed since, and their models, up to date."""
        if not self.dirty:
            return
        cell = np.array(sorted(self.dirty), dtype=np.int64)
        gram, moment = statistics.gram[self.target, cell] * self.decay, statistics.moment[self.target, cell] * self.decay
        self._set_cells(cell, statistics.cell_task[cell], gram, moment)
        self._set_models(sorted(set(statistics.cell_model[cell].tolist())))
        self.dirty.clear()

    def publish(self, statistics: Statistics, fresh: bool, intervals: bool) -> TargetPosterior:
        """The immutable value, rebuilt only where something changed and, unless ``fresh``, the layout too."""
        if self.stale:
            self._rebuild(statistics)
        if self.published is None or (fresh and (self.dirty or (intervals and self.unspread))):
            self.refresh(statistics)
            if intervals and self.unspread:
                stale = sorted(self.unspread)
                self.common_variance[stale] = self._common_variance(stale, statistics.cell_task)
                self.unspread.clear()
            n_tasks = len(statistics.task_types)
            ease, noise = self._fitted(np.arange(n_tasks + 1))
            self.published = TargetPosterior(
                coefficients=self.coefficients.copy(),
                covariance=self.covariance.copy(),
                pulled=self.pulled.copy(),
                effect=self.effect.copy(),
                cell_variance=self.cell_variance.copy(),
                ease=ease,
                noise=noise,
                common_variance=self.common_variance.copy(),
            )
        return self.published
