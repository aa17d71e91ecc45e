"""Evidence of a stretch of the log as columns: the same as its observations one by one, in the order of the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arrays import BoolArray, FloatArray, IntArray
from learning.observations import Call, Observation
from learning.targets import Target
from learning.voices import Agreement, Voice

CALL = len(Target)
AGREEMENT = len(Target) + 1
COLUMNS: Mapping[str, type] = {
    **dict.fromkeys(("kind", "model", "task", "voice", "row", "clock"), np.int64),
    **dict.fromkeys(("value", "weight"), np.float64),
    "correction": np.bool_,
}
"""Of a block, with their types."""


@dataclass(frozen=True, slots=True)
class Block:
    """n items. Names are numbers into ``models``, ``task_types`` and ``voices``; a name that no item has may be among them."""

    models: Sequence[str]
    task_types: Sequence[str]
    voices: Sequence[Voice]
    kind: IntArray
    """(n,) a ``Target``, ``CALL`` or ``AGREEMENT``."""
    model: IntArray
    """(n,)"""
    task: IntArray
    """(n,) of observations."""
    voice: IntArray
    """(n,) of observations; plain but for quality."""
    row: IntArray
    """(n,) of ``features``, for observations; of ``agreements``, for an agreement."""
    clock: IntArray
    """(n,)"""
    value: FloatArray
    """(n,) of observations; 1 for a call that failed."""
    weight: FloatArray
    """(n,) of observations."""
    correction: BoolArray
    """(n,) of observations."""
    features: FloatArray
    """(m, N_FEATURES)"""
    agreements: Sequence[Agreement]

    def __len__(self) -> int:
        return len(self.kind)

    def part(self, first: int, end: int) -> "Block":
        """Items ``first`` to before ``end``."""
        if (first, end) == (0, len(self)):
            return self
        span = slice(first, end)
        return Block(
            self.models,
            self.task_types,
            self.voices,
            self.kind[span],
            self.model[span],
            self.task[span],
            self.voice[span],
            self.row[span],
            self.clock[span],
            self.value[span],
            self.weight[span],
            self.correction[span],
            self.features,
            self.agreements,
        )

    def item(self, i: int) -> Observation | Call | Agreement:
        """One item by itself."""
        kind, model, clock = int(self.kind[i]), self.models[self.model[i]], int(self.clock[i])
        if kind == AGREEMENT:
            return self.agreements[int(self.row[i])]
        if kind == CALL:
            return Call(model, bool(self.value[i]), clock)
        return Observation(
            Target(kind),
            model,
            self.task_types[self.task[i]],
            self.features[self.row[i]].copy(),
            float(self.value[i]),
            clock,
            float(self.weight[i]),
            bool(self.correction[i]),
            self.voices[self.voice[i]],
        )
