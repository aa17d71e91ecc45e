"""Names by index: models, task types, and the cells in which the two have met."""

from dataclasses import dataclass

import numpy as np

from learning.arrays import IntArray


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an index as they stood: K models and T task types."""

    models: tuple[str, ...]
    task_types: tuple[str, ...]
    model_index: dict[str, int]
    task_index: dict[str, int]
    cells: IntArray
    """(K, T + 1) index of every cell, counted from 1; 0 where there is none."""


class Index:
    """Models, task types and cells, numbered as they come up.

    Attributes
    ----------
    models, task_types : list of str
        Names, by index.
    cell_model, cell_task : IntArray
        ``(n_cells,)``, the model and the task type of every cell.
    """

    def __init__(self) -> None:
        self.models: list[str] = []
        self.task_types: list[str] = []
        self._model_index: dict[str, int] = {}
        self._task_index: dict[str, int] = {}
        self._cell_index: dict[tuple[int, int], int] = {}
        self.cell_model: IntArray = np.zeros(0, dtype=np.int64)
        self.cell_task: IntArray = np.zeros(0, dtype=np.int64)

    @property
    def n_cells(self) -> int:
        """Number of cells with evidence."""
        return len(self.cell_model)

    def model_index(self, model: str) -> int:
        """Index of a model, given one where it is new."""
        index = self._model_index.get(model)
        if index is None:
            index = self._model_index[model] = len(self.models)
            self.models.append(model)
        return index

    def find_model(self, model: str) -> int | None:
        """Index of a model that has evidence, else None."""
        return self._model_index.get(model)

    def find_task(self, task_type: str) -> int | None:
        """Index of a task type that has evidence, else None."""
        return self._task_index.get(task_type)

    def find_cell(self, model: int, task: int) -> int | None:
        """Index of a cell that has evidence, else None."""
        return self._cell_index.get((model, task))

    def cell(self, model: str, task_type: str) -> int:
        """Index of a cell, made where it is new."""
        task = self._task_index.get(task_type)
        if task is None:
            task = self._task_index[task_type] = len(self.task_types)
            self.task_types.append(task_type)
        key = (self.model_index(model), task)
        index = self._cell_index.get(key)
        if index is None:
            index = self._cell_index[key] = self.n_cells
            self.cell_model = np.append(self.cell_model, key[0])
            self.cell_task = np.append(self.cell_task, key[1])
        return index

    def names(self) -> Names:
        """All names as they stand."""
        cells = np.zeros((len(self.models), len(self.task_types) + 1), dtype=np.int64)
        cells[self.cell_model, self.cell_task] = np.arange(1, self.n_cells + 1)
        return Names(tuple(self.models), tuple(self.task_types), dict(self._model_index), dict(self._task_index), cells)
