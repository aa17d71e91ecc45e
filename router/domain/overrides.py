"""What an operator set while services run: it stands over their settings until it is lifted."""

from dataclasses import dataclass
from typing import Any

BUDGET = "budget"
"""Kind of the limits on money, by their names in ``router.domain.budgets``."""
PIN = "pin"
"""Kind of the models, in their order, that a task type is pinned to, by task type."""


@dataclass(frozen=True, slots=True)
class Override:
    """One value, set or lifted; of several with the same kind and name the last one holds."""

    kind: str
    name: str
    value: Any
    """JSON-ready. None: lifted, so that the settings hold again."""
    at: float
    """Unix time."""
    key_id: str | None
    """Of the API key that came with the order; None: it came without one, over HTTP where there are none or from the command line."""
    number: int = 0
    """Its place among all that were kept, from 1."""
