"""The limits on money, in answers."""

from typing import Literal

from pydantic import Field

from router.api.views.view import View


class LimitView(View):
    """One limit, and where it comes from."""

    value: float | str | None = Field(description="null limits nothing.")
    source: Literal["settings", "run time"]
    setting: float | str | None = Field(description="What the settings say; it holds again once the limit is lifted.")
    at: float | None = Field(description="Unix time at which it was set at run time.")
    key_id: str | None = Field(description="The key that came with the order; null: none did, here or at the command line.")


class LimitsView(View):
    """Every limit; days are of UTC."""

    usd_per_request: LimitView
    usd_per_day: LimitView
    exhausted: LimitView
    exploration_quality_per_day: LimitView
    exploration_usd_per_day: LimitView


class TodayView(View):
    """How the day stands, over all services on the log."""

    spent_usd: float
    remaining_usd: float | None = Field(description="null: nothing limits the day.")
    spent: bool = Field(description="Whether nothing is left.")
    expected_requests: float = Field(description="Until the day ends.")
    ends_at: float
    explored: dict[str, float] = Field(description="Drawn of each limit on exploring.")


class BudgetsView(View):
    """The limits on money and how they stand."""

    limits: LimitsView
    today: TodayView
    aim_usd_per_request: float | None = Field(description="What the next requests may cost on average; null: nothing limits that.")
    utility_per_usd: float = Field(description="What a dollar costs in utility to keep to it, on top of what requests value.")
