"""Calls of models that judge: whether one can be called, what it may cost, and the call."""

from collections.abc import Callable

from adapters.types import CompletionRequest, Message
from router.domain.catalog import Catalog
from router.domain.prices import Billed, cost_of
from router.judging.protocol import Reply
from router.services.billing import Billing
from router.services.providers import Providers

REPLY_TOKENS = 1_000
"""A grade takes ten; models that think first take the rest."""
PROMPT_TOKENS = 600
"""Of the instructions, at most."""
CHARACTERS_PER_TOKEN = 3.0
"""Fewer than in any usual text, so that costs are not set too low."""


class JudgeCalls:
    """``catalog``: the models as they are now."""

    def __init__(self, providers: Providers, catalog: Callable[[], Catalog]) -> None:
        self._providers = providers
        self._catalog = catalog
        self._billing = Billing(lambda model: catalog().get(model).price)

    def usable(self, model: str) -> bool:
        """Whether a model is in use and can be called."""
        catalog = self._catalog()
        return model in catalog and not catalog.get(model).retired and self._providers.serves(model)

    def family(self, model: str) -> str:
        """As in the catalogue; empty where it is not there."""
        catalog = self._catalog()
        return catalog.get(model).family if model in catalog else ""

    def cost_at_most(self, model: str, characters: int) -> float | None:
        """USD of a judgement on a text of that length; None where the price is unknown."""
        read = round(PROMPT_TOKENS + characters / CHARACTERS_PER_TOKEN)
        return cost_of(self._catalog().get(model).price, Billed(read, REPLY_TOKENS))

    async def ask(self, model: str, messages: tuple[Message, ...]) -> Reply:
        """Make the call.

        Raises ``AdapterError``.
        """
        completion = await self._providers.adapter(model).complete(CompletionRequest(model, messages, max_output_tokens=REPLY_TOKENS))
        cost, _ = self._billing.cost(completion, 0)
        return Reply(completion.text, cost)
