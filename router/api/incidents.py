"""``/v1/incidents``: changes of models that the evidence gave away."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from learning.drift import Incident
from router.api.access import READ, allow
from router.api.hot import answer
from router.api.services import services_of
from router.domain.incidents import described


async def list_incidents(request: Request) -> Response:
    """Models that have changed, open incidents and closed ones, newest first: what changed, from what to what, since when, and how sure.

    While an incident is open, the model is explored more on the task types concerned. It closes once the estimate has settled.
    """
    await allow(request, READ)
    training = services_of(request).training
    return answer({"incidents": [_told(incident) for incident in reversed(training.incidents)], "seq": training.seq})


def _told(incident: Incident) -> dict[str, Any]:
    return {
        "status": "open" if incident.closed is None else "closed",
        **described(incident),
        "opened_seq": incident.opened,
        "since_seq": incident.since,
        "latest_seq": incident.last,
        "closed_seq": incident.closed,
    }
