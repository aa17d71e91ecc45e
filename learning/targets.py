"""What is learned about a model: separate targets, combined only when a decision is taken.

Prices are catalogue facts, so cost is learned as output tokens and priced at decision time; ``COST`` serves the models whose
price nobody knows. Failures are counted apart (see ``learning.statistics``) and never touch quality.
"""

from dataclasses import dataclass
from enum import IntEnum


class Target(IntEnum):
    """The learned quantities; the value indexes the arrays of ``Statistics``."""

    QUALITY = 0
    """Judged quality in [0, 1]."""
    OUTPUT_TOKENS = 1
    """Natural logarithm of output tokens."""
    LATENCY = 2
    """Natural logarithm of seconds for the whole answer."""
    COST = 3
    """Natural logarithm of USD per call."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior of one target. Standard deviations are in units of the target; see ``learning.hierarchy`` for the model."""

    mean: float
    """Of the target over models and task types."""
    mean_sd: float
    noise_sd: float
    """Of one observation around its expectation; a start that the data correct."""
    model_sd: float
    cell_sd: float
    """Of a model's peculiarity on one task type."""
    task_sd: float
    slope_sd: float
    """Of one model's deviation from the common slope of a feature."""
    common_slope_sd: float
    expected_output_slope: float
    """Prior mean of the slope of the ``log_expected_output`` feature."""
    covariate_mean: float
    """Prior mean of the coefficient of the arm's covariate (standardised log price, or the log of published speed)."""
    covariate_sd: float
    half_life_share: float
    """Half-life as a share of the quality's: latency drifts faster than quality."""


PRIORS: tuple[Prior, ...] = (
    Prior(0.7, 0.15, 0.15, 0.10, 0.08, 0.15, 0.03, 0.08, 0.0, 0.07, 0.05, 1.0),
    Prior(5.7, 0.5, 0.5, 0.4, 0.3, 0.6, 0.05, 0.15, 0.8, 0.0, 0.05, 0.5),
    Prior(1.0, 0.5, 0.5, 0.5, 0.2, 0.5, 0.05, 0.15, 0.6, 1.0, 0.25, 0.05),
    Prior(-7.0, 1.5, 0.5, 1.5, 0.3, 0.6, 0.05, 0.3, 0.8, 0.5, 0.5, 0.5),
)
"""By ``Target``. Sources: variance components of real judge scores and published token and latency fits (LEARNING.md, section 1)."""
