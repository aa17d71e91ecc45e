"""API keys, in answers."""

from pydantic import Field

from router.api.views.view import View


class RateView(View):
    """So many requests at once, refilled evenly over the time."""

    count: int
    period_s: int


class KeyBudgetView(View):
    """USD per hour, day, week or month."""

    usd: float
    period: str


class KeyView(View):
    """An API key, without anything that leads to it."""

    id: str
    name: str
    prefix: str = Field(description="How the key starts.")
    scopes: list[str]
    created_at: float
    expires_at: float | None = Field(description="Unix time; null = never.")
    revoked_at: float | None
    rate: RateView | None
    budget: KeyBudgetView | None
    drawn_usd: float | None = Field(description="Spent of the budget in this period, or held by a service to be spent.")


class NewKeyView(KeyView):
    """A key that was just made."""

    key: str = Field(description="Shown this once: send it as `Authorization: Bearer KEY`.")


class KeyList(View):
    """Every key, the oldest first."""

    keys: list[KeyView]
