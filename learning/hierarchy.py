"""The pooled Gaussian model behind every target, and its posterior.

For model m, task type t and features x (x_0 = 1)

    y = x'(zeta + u_m) + beta g_m + b_t + c_mt + e,      e ~ N(0, s_t^2)

    zeta ~ N(zeta_0, .)   common level and slopes        u_m ~ N(0, D)        what is peculiar to a model
    beta ~ N(beta_0, .)   worth of the covariate g_m     c_mt ~ N(0, tau^2)   what is peculiar to a model on one type
    b_t ~ N(0, tau_b^2)   ease of a task type

``fit`` solves for the common part z = (zeta, beta, b) exactly, with u and c integrated out, and re-estimates the variances by one
step of expectation maximisation from a warm start (empirical Bayes). Given z, models are independent, so that one new observation
changes one model's posterior only: ``arm_posterior``.

References: two-level Gaussian hierarchy for bandits, arXiv:2205.15124 and arXiv:2510.26284; Schur complement of block-arrow systems.
"""

from dataclasses import dataclass, replace

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.features import EXPECTED_OUTPUT, N_FEATURES
from learning.targets import Prior

_VARIANCE_PRIOR_MODELS = 20.0
"""Pseudo-observations behind the prior variances of models' levels and of cells."""
_VARIANCE_PRIOR_SLOPES = 5.0
_VARIANCE_PRIOR_TASKS = 5.0
_NOISE_PRIOR_LABELS = 10.0
_TASK_NOISE_PRIOR_LABELS = 20.0
_D = N_FEATURES


@dataclass(frozen=True, slots=True)
class Cells:
    """Sufficient statistics of one target as of now.

    Shapes: gram (C, d, d), moment (C, d), square (C,), model (C,), task (C,); n_models and n_tasks bound the indices.
    """

    gram: FloatArray
    moment: FloatArray
    square: FloatArray
    model: IntArray
    task: IntArray
    n_models: int
    n_tasks: int

    @property
    def weight(self) -> FloatArray:
        """(C,) sum of weights."""
        weight: FloatArray = np.maximum(self.gram[:, 0, 0], 0.0)
        return weight


@dataclass(frozen=True, slots=True)
class Common:
    """The fitted common part and variances of one target.

    zeta (d,); task (n_tasks,) the b_t; noise (n_tasks,) the s_t^2; model_var (d,) the diagonal of D; covariance
    (d+1+T, d+1+T) of z = (zeta, beta, b).
    """

    zeta: FloatArray
    beta: float
    task: FloatArray
    noise: FloatArray
    pooled_noise: float
    model_var: FloatArray
    cell_var: float
    task_var: float
    covariance: FloatArray


def start(prior: Prior) -> Common:
    """The common part before any evidence."""
    zeta = np.zeros(_D)
    zeta[0] = prior.mean
    zeta[EXPECTED_OUTPUT] = prior.expected_output_slope
    return Common(
        zeta=zeta,
        beta=prior.covariate_mean,
        task=np.zeros(0),
        noise=np.zeros(0),
        pooled_noise=prior.noise_sd**2,
        model_var=_model_prior_variance(prior),
        cell_var=prior.cell_sd**2,
        task_var=prior.task_sd**2,
        covariance=np.diag(_common_prior_variance(prior, 0)),
    )


def _model_prior_variance(prior: Prior) -> FloatArray:
    variance = np.full(_D, prior.slope_sd**2)
    variance[0] = prior.model_sd**2
    return variance


def _common_prior_variance(prior: Prior, n_tasks: int, task_var: float | None = None) -> FloatArray:
    variance = np.full(_D + 1 + n_tasks, prior.common_slope_sd**2)
    variance[0] = prior.mean_sd**2
    variance[_D] = prior.covariate_sd**2
    variance[_D + 1 :] = prior.task_sd**2 if task_var is None else task_var
    return variance


def pool_cells(gram: FloatArray, moment: FloatArray, noise: FloatArray, cell_var: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Information of cells about (zeta + u_m) with their c_mt integrated out.

    Parameters
    ----------
    gram, moment, noise : FloatArray
        (C, d, d), (C, d) and (C,)

    Returns
    -------
    information, moment : FloatArray
        (C, d, d) and (C, d)
    shrink : FloatArray
        (C,) kappa = 1 / (n + s^2 / tau^2): c_mt has posterior mean kappa * (sum of residuals) and variance kappa * s^2.
    """
    shrink = 1.0 / (np.maximum(gram[:, 0, 0], 0.0) + noise / cell_var)
    column = gram[:, :, 0]
    information = (gram - shrink[:, None, None] * (column[:, :, None] * column[:, None, :])) / noise[:, None, None]
    pooled = (moment - (shrink * moment[:, 0])[:, None] * column) / noise[:, None]
    return information, pooled, shrink


@dataclass(frozen=True, slots=True)
class _Pooled:
    """All cells with c_mt integrated out: information (C, d, d), moment (C, d), shrink (C,)."""

    information: FloatArray
    moment: FloatArray
    shrink: FloatArray


@dataclass(frozen=True, slots=True)
class _Solution:
    z: FloatArray
    covariance: FloatArray
    coefficients: FloatArray
    """(n_models, d): zeta + u_m + e_0 beta g_m."""
    deviation: FloatArray
    """(n_models, d): u_m."""
    spread: FloatArray
    """(n_models, d, d): covariance of u_m given z."""
    deviation_var: FloatArray
    """(n_models, d): variance of u_m with the uncertainty of z."""


def _solve(cells: Cells, model: IntArray, pooled: _Pooled, covariate: FloatArray, prior: Prior, common: Common) -> _Solution:
    """Joint posterior of z and the u_m by eliminating the models one block at a time (all at once, batched).

    ``model`` (C,) counts the models with cells, of which ``covariate`` (n_models,) has the g_m: the others say nothing of z.
    """
    K, T, d = int(model.max()) + 1, cells.n_tasks, _D
    nz = d + 1 + T
    S = _summed(pooled.information, model, K)
    r = _summed(pooled.moment, model, K)

    column = pooled.information[:, :, 0]  # (C, d): how a shift of the cell's level enters
    X = np.zeros((K, d, nz))  # cross information of u_m and z
    X[:, :, :d] = S
    X[:, :, d] = S[:, :, 0] * covariate[:, None]
    X[model, :, d + 1 + cells.task] = column  # one cell per (model, task type)

    variance = _common_prior_variance(prior, T, common.task_var)
    P = np.diag(1.0 / variance)
    P[:d, :] += X.sum(axis=0)
    P[d, :] += (X[:, 0, :] * covariate[:, None]).sum(axis=0)
    P[d + 1 :] += _summed(_task_rows(pooled, covariate[model], cells.task, nz), cells.task, T)
    rhs = np.zeros(nz)
    rhs[0] = prior.mean / variance[0]
    rhs[EXPECTED_OUTPUT] = prior.expected_output_slope / variance[EXPECTED_OUTPUT]
    rhs[d] = prior.covariate_mean / variance[d]
    rhs[:d] += r.sum(axis=0)
    rhs[d] += r[:, 0] @ covariate
    rhs[d + 1 :] += np.bincount(cells.task, pooled.moment[:, 0], minlength=T)

    A = S + np.diag(1.0 / common.model_var)
    spread: FloatArray = np.linalg.inv(A).astype(np.float64, copy=False)
    AX = spread @ X  # (K, d, nz)
    flat, flat_a = X.reshape(K * d, nz), AX.reshape(K * d, nz)
    P -= flat.T @ flat_a
    rhs -= flat_a.T @ r.ravel()
    covariance: FloatArray = np.linalg.inv((P + P.T) / 2).astype(np.float64, copy=False)
    z = covariance @ rhs
    deviation = (spread @ r[:, :, None])[:, :, 0] - AX @ z
    coefficients = z[:d] + deviation
    coefficients[:, 0] += z[d] * covariate
    deviation_var = np.einsum("kii->ki", spread) + ((flat_a @ covariance) * flat_a).sum(axis=1).reshape(K, d)
    return _Solution(z, covariance, coefficients, deviation, spread, deviation_var)


def _task_rows(pooled: _Pooled, covariate: FloatArray, task: IntArray, nz: int) -> FloatArray:
    """(C, nz): row of the information about b_t that each cell contributes; ``covariate`` (C,) is that of its model."""
    rows = np.zeros((len(task), nz))
    rows[:, :_D] = pooled.information[:, 0, :]
    rows[:, _D] = pooled.information[:, 0, 0] * covariate
    rows[np.arange(len(rows)), _D + 1 + task] = pooled.information[:, 0, 0]
    return rows


def _summed(values: FloatArray, index: IntArray, n: int) -> FloatArray:
    """(n, ...) sums of the rows (C, ...) of each index."""
    order = np.argsort(index, kind="stable")
    present, first = np.unique(index[order], return_index=True)
    sums = np.zeros((n, *values.shape[1:]))
    sums[present] = np.add.reduceat(values[order], first, axis=0)
    return sums


def fit(cells: Cells, covariate: FloatArray, prior: Prior, common: Common) -> Common:
    """One step of empirical Bayes from ``common``.

    Parameters
    ----------
    cells : Cells
        Evidence of one target.
    covariate : FloatArray
        (n_models,) the g_m.

    Returns
    -------
    Common
        With the task effects of ``cells.n_tasks`` task types.
    """
    T = cells.n_tasks
    noise = np.full(T, common.pooled_noise)
    noise[: len(common.noise)] = common.noise
    pooled = _Pooled(*pool_cells(cells.gram, cells.moment, noise[cells.task], common.cell_var))
    with_cells, model = np.unique(cells.model, return_inverse=True)
    solution = _solve(cells, model, pooled, covariate[with_cells], prior, common)

    # expectations of the squared effects, evidence-bearing models and cells only
    live = cells.weight > 0
    seen = np.unique(model[live])
    u_squared = (solution.deviation[seen] ** 2 + solution.deviation_var[seen]).sum(axis=0)
    mass = np.full(_D, _VARIANCE_PRIOR_SLOPES)
    mass[0] = _VARIANCE_PRIOR_MODELS
    model_var = (mass * _model_prior_variance(prior) + u_squared) / (mass + len(seen))
    b = solution.z[_D + 1 :]
    b_var = np.diag(solution.covariance)[_D + 1 :]
    task_var = (_VARIANCE_PRIOR_TASKS * prior.task_sd**2 + (b**2 + b_var).sum()) / (_VARIANCE_PRIOR_TASKS + T)

    theta = solution.coefficients[model]  # (C, d)
    column = cells.gram[:, :, 0]
    residual = cells.moment[:, 0] - b[cells.task] * cells.weight - (column * theta).sum(axis=1)
    effect = pooled.shrink * residual
    spread = solution.spread[model]
    pulled = pooled.shrink[:, None] * column
    effect_var = pooled.shrink * noise[cells.task] + _quadratic(pulled, spread)
    cell_var = (_VARIANCE_PRIOR_MODELS * prior.cell_sd**2 + (effect**2 + effect_var)[live].sum()) / (_VARIANCE_PRIOR_MODELS + live.sum())

    level = theta.copy()
    level[:, 0] += b[cells.task] + effect
    error = cells.square - 2.0 * (level * cells.moment).sum(axis=1) + _quadratic(level, cells.gram)
    centre = column / np.maximum(cells.weight, 1e-12)[:, None] - pulled
    fit_var = _quadratic(centre, spread) + pooled.shrink * noise[cells.task]
    error = np.maximum(error + cells.weight * fit_var, 0.0)
    by_task = np.bincount(cells.task, error, minlength=T)
    n_by_task = np.bincount(cells.task, cells.weight, minlength=T)
    pooled_noise = (_NOISE_PRIOR_LABELS * prior.noise_sd**2 + by_task.sum()) / (_NOISE_PRIOR_LABELS + n_by_task.sum())
    task_noise = (_TASK_NOISE_PRIOR_LABELS * pooled_noise + by_task) / (_TASK_NOISE_PRIOR_LABELS + n_by_task)
    return replace(
        common,
        zeta=solution.z[:_D],
        beta=float(solution.z[_D]),
        task=b,
        noise=task_noise,
        pooled_noise=float(pooled_noise),
        model_var=model_var,
        cell_var=float(cell_var),
        task_var=float(task_var),
        covariance=solution.covariance,
    )


def _quadratic(x: FloatArray, matrix: FloatArray) -> FloatArray:
    """(C,) x' M x for each of C vectors (C, d) and matrices (C, d, d)."""
    form: FloatArray = (x * (matrix @ x[:, :, None])[:, :, 0]).sum(axis=1)
    return form


def arm_posteriors(
    information: FloatArray, moment: FloatArray, centre: FloatArray, prior_precision: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Posterior of n models' coefficients given the common part.

    Parameters
    ----------
    information, moment : FloatArray
        (n, d, d) and (n, d): sums over each model's cells of ``pool_cells``, the moment with the b_t taken off.
    centre : FloatArray
        (n, d) prior mean zeta + e_0 beta g_m.
    prior_precision : FloatArray
        (n, d) diagonal of each model's D^-1.

    Returns
    -------
    mean : FloatArray
        (n, d)
    covariance : FloatArray
        (n, d, d)
    """
    covariance: FloatArray = np.linalg.inv(information + prior_precision[:, :, None] * np.eye(_D)).astype(np.float64, copy=False)
    return (covariance @ (moment + prior_precision * centre)[:, :, None])[:, :, 0], covariance


def inherited(moment: FloatArray, precision: FloatArray, model_var: float, likeness: float) -> tuple[float, float]:
    """Prior mean and variance of the level deviation u of a newcomer, given the evidence about those of k models of its kin.

    Within a kin, u = f + w with f ~ N(0, rho D) shared and w ~ N(0, (1 - rho) D) own, rho the ``likeness`` and D the ``model_var``.

    Parameters
    ----------
    moment, precision : FloatArray
        (k,) what each model's own evidence alone says of its u: precision >= 0, and precision times mean.
    """
    own = (1.0 - likeness) * model_var
    blurred = 1.0 + own * precision
    known = 1.0 / (likeness * model_var) + float((precision / blurred).sum())
    return float((moment / blurred).sum()) / known, own + 1.0 / known
