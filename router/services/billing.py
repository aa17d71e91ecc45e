"""What calls cost: as the provider says, else by their usage at the price in force; None where that is unknown, never 0."""

from collections.abc import Callable

from adapters.types import Completion, Usage
from router.domain.events import CostSource
from router.domain.models import Price
from router.domain.prices import Billed, cost_of


class Billing:
    """``price``: of a model, now."""

    def __init__(self, price: Callable[[str], Price | None]) -> None:
        self._price = price

    def cost(self, completion: Completion, images: int) -> tuple[float | None, CostSource | None]:
        """Of an answer, and where the figure comes from."""
        if completion.cost_usd is not None:
            return completion.cost_usd, CostSource.REPORTED
        cost = self._computed(completion.model, completion.usage, images, completion.compute_s)
        return cost, None if cost is None else CostSource.COMPUTED

    def cost_of_part(self, model: str, usage: Usage, images: int) -> float | None:
        """Of a call without a whole answer."""
        return self._computed(model, usage, images, None)

    def _computed(self, model: str, usage: Usage | None, images: int, compute_s: float | None) -> float | None:
        billed = Billed(
            None if usage is None else usage.input_tokens,
            None if usage is None else usage.output_tokens,
            0 if usage is None else usage.cached_input_tokens,
            0 if usage is None else usage.cache_write_tokens,
            0 if usage is None else usage.reasoning_tokens,
            images,
            compute_s,
        )
        return cost_of(self._price(model), billed)
