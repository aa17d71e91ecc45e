"""What is believed about every model, as one immutable value that decisions read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.targets import Target
from learning.text import TextBelief, TextShift, no_shift


@dataclass(frozen=True, slots=True)
class TargetPosterior:
    """Posterior of one target over K models, T task types and C cells with evidence.

    Cell 0 stands for "no evidence", and column T of the per-type arrays for a task type never seen.
    """

    coefficients: FloatArray
    """(K, d) posterior mean of zeta + u_m + e_0 beta g_m."""
    covariance: FloatArray
    """(K, d, d)"""
    pulled: FloatArray
    """(C + 1, d) kappa times the cell's feature sums."""
    effect: FloatArray
    """(C + 1,) kappa times the cell's residual sum."""
    cell_variance: FloatArray
    """(C + 1,)"""
    ease: FloatArray
    """(T + 1,) b_t"""
    noise: FloatArray
    """(T + 1,) variance of one observation"""
    common_variance: FloatArray
    """(K, T + 1) what the uncertainty of the common part adds to an interval; it moves all models together, so ranking ignores it.

    Kept for quality; 0 for the other targets."""

    def predict(self, cells: IntArray, task: int, features: FloatArray, rows: IntArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the target's expectation for n models.

        Parameters
        ----------
        cells : IntArray
            (n,) cell of each of the models on the task type, 0 for none.
        task : int
            Column of the task type.
        features : FloatArray
            (d,)
        rows : IntArray, optional
            (n,) the models; all K without it.

        Returns
        -------
        mean, variance : FloatArray
            (n,) each.
        """
        coefficients, covariance = self.coefficients, self.covariance
        if rows is not None:
            coefficients, covariance = coefficients.take(rows, axis=0), covariance.take(rows, axis=0)
        psi = features - self.pulled.take(cells, axis=0)
        mean = np.add.reduce(psi * coefficients, axis=1) + (self.effect.take(cells) + self.ease[task])
        spread = (covariance @ psi[:, :, None])[:, :, 0]
        variance = np.add.reduce(psi * spread, axis=1) + self.cell_variance.take(cells)
        return mean, variance


@dataclass(frozen=True, slots=True)
class Posterior:
    """The published policy state: immutable, swapped as a whole.

    ``seq`` is the log position up to which evidence is in it, ``version`` a short hash of the hyper-parameters' inputs.
    """

    seq: int
    models: tuple[str, ...]
    task_types: tuple[str, ...]
    model_index: dict[str, int]
    task_index: dict[str, int]
    cells: IntArray
    """(K, T + 1) cell index, 0 for none."""
    labels: FloatArray
    """(C,) undecayed number of quality scores per cell: that of ``cells[m, t]`` at position ``cells[m, t] - 1``."""
    billed: FloatArray
    """(K,) undecayed number of calls with a known cost."""
    targets: tuple[TargetPosterior, ...]
    failure_rate: FloatArray
    """(K,) posterior mean of the probability that a call fails."""
    eager: FloatArray
    """(K, T + 1) in (-1, 1]: how far a model's exploration goes from tempered (0) to the full width of its posterior (1), or to none (-1).

    Positive where the model has just changed, and for one that joined a pool with experience; negative where few calls are scored."""
    texts: Mapping[int, TextBelief] = field(default_factory=dict)
    """What the texts of each ``Projection`` say, where any were logged."""

    @property
    def text_counts(self) -> int:
        """Task types where texts of some kind have proven their worth."""
        return int(np.any([belief.scale > 0.0 for belief in self.texts.values()], axis=0).sum()) if self.texts else 0

    def text_shift(self, text: bytes, rows: IntArray, task: int) -> TextShift:
        """What a projected text says of the quality of the models at ``rows`` (n,)."""
        belief = self.texts.get(text[0])
        return no_shift(len(rows)) if belief is None else belief.of(text, rows, task)

    def task(self, task_type: str) -> int:
        """Column of a task type; the last one where it was never seen."""
        return self.task_index.get(task_type, len(self.task_types))

    def scores(self, task: int) -> FloatArray:
        """(K,) undecayed number of quality scores of each model on a task type."""
        counts: FloatArray = np.concatenate([[0.0], self.labels])[self.cells[:, task]]
        return counts

    def predict(self, target: Target, task: int, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (K,) of one target; see ``TargetPosterior.predict``."""
        return self.targets[target].predict(self.cells[:, task], task, features)

    def predict_at(self, rows: IntArray, target: Target, task: int, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same (n,) for the models at ``rows`` (n,)."""
        if 2 * len(rows) > len(self.models):  # their matrices would be copied for less than that saves
            mean, variance = self.predict(target, task, features)
            return mean[rows], variance[rows]
        return self.targets[target].predict(self.cells[rows, task], task, features, rows)

    def interval_variance(self, target: Target, task: int, variance: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Variance (n,) to report, of the models at ``rows`` or of all: with the uncertainty that all models share."""
        total: FloatArray = variance + self.targets[target].common_variance[rows, task]
        return total

    def noise(self, target: Target, task: int) -> float:
        """Variance of one observation around its expectation."""
        return float(self.targets[target].noise[task])
