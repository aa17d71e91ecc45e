"""A decision that was taken once more."""

from pydantic import Field

from router.api.views.estimates import Expected
from router.api.views.routing import Alternative
from router.api.views.view import View


class WeighedView(View):
    """What was expected of one eligible model, and what that was worth to the request."""

    model: str
    expected: Expected
    failure_rate: float
    utility: float
    utility_sd: float
    probability_best: float


class AuditedView(View):
    """One model that was eligible."""

    model: str
    weighed: WeighedView
    propensity: float
    draws: tuple[int, int] | None = Field(description="The 24-bit draws, first included and last not, that choose it.")


class AuditView(View):
    """The decision, taken once more from the log."""

    decision_id: str
    exact: bool | None = Field(description="Whether it came out the same to the last bit; null where it was not recomputed.")
    differences: tuple[str, ...]
    why_not: str | None
    model: str | None
    propensity: float | None
    draw: int | None
    policy_seq: int
    state_digest: str | None = Field(description="Of the learned state it was taken from.")
    models: tuple[AuditedView, ...]
    alternatives: tuple[Alternative, ...]
