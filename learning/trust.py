"""How far a source of scores (an API key) is believed, cell by cell of (model, task type).

Source s is compared, model by model, with what all sources together say of the same cells. What exceeds twice the sampling error is
bias, with variance t_sm^2, and n scores of a biased source are worth n / (1 + n t_sm^2 / s^2). All its gaps together say how likely it
is to speak of another world, on all models or on some: with that probability nothing that it says counts, because a model that it has
talked down is hardly tried, so that nothing else would give the lie away. The comparison is repeated with the new weights, so that a
minority, however loud, ends without influence. Where others know a cell, one source holds at most a share of its weight.
"""

import math

import numpy as np

from learning.arrays import FloatArray, IntArray

_NO_BIAS_VAR = 0.05**2
"""Discrepancy variance of one pseudo-cell that agrees, behind every source and model."""
_OWN_SCALE_VAR = 0.05**2
"""Of the offset that an honest source may have on all models: its tasks are harder, its users milder."""
_LIE_VAR = 0.1
"""Of what a source that lies says beyond the truth."""
_MODELS_LIED_OF = 0.2
"""Share of the models that such a source lies of, before evidence."""
_HONEST_ODDS = 3.0
"""Log of the prior odds that a source is honest: 20 to 1."""
_ROUNDS = 4
_ERRORS = 2.0
"""Sampling errors that a source may lie off before it counts as bias."""
_CAP_FROM, _CAP_SHARE = 40.0, 0.8
"""Scores of one source in a cell that are never capped, and its largest share of the cell's weight beyond them."""
_KNOWN_TO_OTHERS = 10.0


def trusted(heard: FloatArray, total: FloatArray, cell_model: IntArray, n_models: int, noise: FloatArray) -> FloatArray:
    """(S, C) worth of what each source says of each cell; ``heard`` (S, C) weights and ``total`` (S, C) weighted sums of its scores."""
    spoke = heard > 0
    n = np.where(spoke, heard, 1.0)
    mean = np.where(spoke, total / n, 0.0)
    trust = np.ones_like(heard)
    for _ in range(_ROUNDS):
        part = heard * trust
        part = part / np.maximum(part.sum(axis=0), 1e-300)
        gap = mean - (part * mean).sum(axis=0)
        error = noise * np.maximum((1.0 - 2.0 * part) / n + np.where(spoke, part**2 / n, 0.0).sum(axis=0), 0.0)
        compared = spoke & (part < 1.0 - 1e-9)
        g = np.where(compared, 1.0 / (error + _NO_BIAS_VAR), 0.0)
        for s in range(len(heard)):
            of, excess, off, variance = _by_model(g[s], gap[s], error[s], cell_model, n_models)
            bias_var = np.maximum(excess, 0.0) / (of + 1.0 / _NO_BIAS_VAR)
            trust[s] = (1.0 - _lies(off[of > 0], variance[of > 0])) / (1.0 + heard[s] * bias_var[cell_model] / noise)
    return trust


def _by_model(
    g: FloatArray, gap: FloatArray, error: FloatArray, cell_model: IntArray, n_models: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """What a source says of each model beyond the others, (M,) each: mass, excess over chance, mean gap and its sampling variance.

    ``g`` (C,) weighs the cells, 0 where there is nothing to compare. A bias of one sign adds up over the task types of a model, long before
    any cell shows it; one of changing signs shows in the cells only. The stronger evidence is the excess.
    """
    of = np.bincount(cell_model, g, minlength=n_models)
    cells = np.bincount(cell_model, g * (gap**2 - _ERRORS**2 * error), minlength=n_models)
    mass = np.where(of > 0, of, 1.0)
    mean = np.bincount(cell_model, g * gap, minlength=n_models) / mass
    variance = np.bincount(cell_model, g**2 * error, minlength=n_models) / mass**2
    w = np.where(of > 0, 1.0 / (variance + _NO_BIAS_VAR), 0.0)
    strong = w * (mean**2 - _ERRORS**2 * variance)
    pseudo = 1.0 / _NO_BIAS_VAR
    of, excess = np.where(strong * (of + pseudo) > cells * (w + pseudo), (w, strong), (of, cells))
    return of, excess, mean, variance


def _lies(mean: FloatArray, variance: FloatArray) -> float:
    """Probability that a source speaks of another world, from what it says of each model beyond the others and that gap's variance.

    An honest source may be mild or harsh by 0.05 and differ by as much on a model; one that lies is off by 0.3 everywhere, on some
    models, or both.
    """
    if not len(mean):
        return 0.0
    v = variance + _NO_BIAS_VAR
    of_offset = 1.0 / float((1.0 / v).sum())
    offset = float((mean / v).sum()) * of_offset
    evidence = float(_odds(np.array([offset]), np.array([of_offset + _OWN_SCALE_VAR]), _LIE_VAR)[0])
    rest = mean - offset * _LIE_VAR / (_LIE_VAR + of_offset)
    evidence += float(np.log(1.0 - _MODELS_LIED_OF + _MODELS_LIED_OF * np.exp(np.minimum(_odds(rest, v, _LIE_VAR), 500.0))).sum())
    return 1.0 / (1.0 + math.exp(min(_HONEST_ODDS - evidence, 500.0)))


def _odds(gap: FloatArray, honest: FloatArray, lie: float) -> FloatArray:
    """Log of how much more likely a gap is with variance ``honest + lie`` than with ``honest``."""
    log_odds: FloatArray = 0.5 * gap**2 * lie / (honest * (honest + lie)) - 0.5 * np.log1p(lie / honest)
    return log_odds


def capped(heard: FloatArray) -> FloatArray:
    """(S, C) factor that holds each source to its share where others know the cell; ``heard`` (S, C) weights that count."""
    others = heard.sum(axis=0) - heard
    most = np.maximum(_CAP_FROM, others * _CAP_SHARE / (1.0 - _CAP_SHARE))
    limited = (others >= _KNOWN_TO_OTHERS) & (heard > most)
    return np.where(limited, most / np.where(heard > 0, heard, 1.0), 1.0)
