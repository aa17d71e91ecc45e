"""Recorded outcomes of several models on the same prompts, as arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """n rows over P prompts and K models. The rows of prompt p and model m are ``order[first[p, m] : first[p, m] + count[p, m]]``."""

    prompt_ids: tuple[str, ...]
    task_types: tuple[str, ...]
    """(P,)"""
    context_tokens: IntArray
    """(P,) median input tokens over the prompt's rows; 1,000 where unknown."""
    models: tuple[str, ...]
    """(K,) sorted."""
    order: IntArray
    first: IntArray
    count: IntArray
    quality: FloatArray
    """(n,) in [0, 1]."""
    cost_usd: FloatArray
    """(n,) nan where unknown."""
    input_tokens: FloatArray
    output_tokens: FloatArray
    latency_s: FloatArray
    dropped: int
    """Rows without a quality."""
    texts: tuple[bytes, ...] = ()
    """(P,) the projected prompts, where they were asked for; see ``learning.projection``."""

    @property
    def n_rows(self) -> int:
        return len(self.quality)

    @property
    def model_of_row(self) -> IntArray:
        """(n,) index of the model of each row."""
        model = np.empty(self.n_rows, dtype=np.int64)
        model[self.order] = np.repeat(np.tile(np.arange(len(self.models)), len(self.prompt_ids)), self.count.ravel())
        return model

    def means(self, values: FloatArray) -> FloatArray:
        """(P, K) mean of a column per prompt and model, nan where there is none."""
        cells = self.count.size
        cell = np.repeat(np.arange(cells), self.count.ravel())
        column = values[self.order]
        known = ~np.isnan(column)
        n = np.bincount(cell[known], minlength=cells)
        total = np.bincount(cell[known], column[known], minlength=cells)
        with np.errstate(invalid="ignore"):
            mean: FloatArray = (total / n).reshape(self.count.shape)
        return mean

    def list_prices(self) -> FloatArray:
        """(K, 2) USD per input and output token, as a price list would state them.

        Fitted to the table's costs and tokens; nan where the fit does not explain the costs within 10 %.
        """
        prices = np.full((len(self.models), 2), np.nan)
        for m in range(len(self.models)):
            rows = np.concatenate([self.order[f : f + c] for f, c in zip(self.first[:, m], self.count[:, m], strict=True)])
            tokens = np.column_stack([self.input_tokens[rows], self.output_tokens[rows]])
            cost = self.cost_usd[rows]
            known = ~np.isnan(cost) & ~np.isnan(tokens).any(axis=1)
            if known.sum() < 3:
                continue
            fitted, *_ = np.linalg.lstsq(tokens[known], cost[known], rcond=None)
            fitted = np.maximum(fitted, 0.0)
            if np.abs(tokens[known] @ fitted - cost[known]).mean() <= 0.1 * cost[known].mean():
                prices[m] = fitted
        return prices
