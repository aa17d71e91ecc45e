"""Models that changed, in answers."""

from typing import Literal

from pydantic import Field

from router.api.views.estimates import Estimate
from router.api.views.view import View


class IncidentView(View):
    """A model has changed. Tokens and seconds are typical values (geometric means)."""

    status: Literal["open", "closed"]
    model: str
    task_type: str | None = Field(description="null = on its task types taken together.")
    target: Literal["quality", "output_tokens", "latency_s"]
    direction: Literal["up", "down"]
    before: Estimate = Field(description="What was expected of the calls since the change.")
    after: Estimate = Field(description="What they brought.")
    log10_e: float = Field(description="How sure: base-10 logarithm of the e-value against no change; 4 = at most 1 in 10,000 by chance.")
    alarms: int
    opened_seq: int = Field(description="Log position of the decision that gave it away.")
    since_seq: int = Field(description="Estimated log position of the change.")
    latest_seq: int = Field(description="Log position of the latest alarm.")
    closed_seq: int | None


class IncidentList(View):
    """Incidents, newest first."""

    incidents: list[IncidentView]
    seq: int = Field(description="Log position up to which the log is learned.")
