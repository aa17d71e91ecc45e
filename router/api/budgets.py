"""``/v1/budgets``: the limits on money, changed while the service runs."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ADMIN, WATCHED, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import BudgetChange
from router.api.services import services_of
from router.errors import StorageUnavailable
from router.services.budgets import BudgetService


async def get_budgets(request: Request) -> Response:
    """The limits that hold, where each comes from, and how they stand: what is spent today, what is left, what requests may cost."""
    await allow(request, WATCHED)
    return answer(await _told(_budgets(request)))


async def change_budgets(request: Request) -> Response:
    """Set limits, or lift those that were set here. They hold at once, on other services within two seconds, and over restarts.

    What is set here stands over the settings until it is lifted with null.
    """
    caller = await allow(request, ADMIN)
    given = await read(request, BudgetChange)
    budgets = _budgets(request)
    await budgets.change({name: getattr(given, name) for name in given.model_fields_set}, caller)
    return answer(await _told(budgets))


def _budgets(request: Request) -> BudgetService:
    found = services_of(request).budgets
    if found is None:
        raise StorageUnavailable("this service keeps no budgets", remedy="ask one that decides")
    return found


async def _told(budgets: BudgetService) -> dict[str, Any]:
    standing = await budgets.standing()
    today = standing.today
    return {
        "limits": standing.limits,
        "today": {
            "spent_usd": today.spent_usd,
            "remaining_usd": max(today.budget_usd - today.spent_usd, 0.0),
            "spent": today.spent,
            "expected_requests": today.expected_requests,
            "ends_at": today.ends_at,
            "explored": standing.explored,
        },
        "aim_usd_per_request": standing.aim_usd,
        "utility_per_usd": standing.utility_per_usd,
    }
