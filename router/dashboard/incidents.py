"""Models that changed without a word: what, from what to what, since when, and how sure."""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from learning.drift import Incident
from router.dashboard.sources import Learned, Moment, Sources
from router.domain.events import DecisionEvent
from router.domain.incidents import described
from router.ports import Store

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Told:
    """An incident with the moments it speaks of."""

    incident: Incident
    facts: dict[str, Any]
    opened: Moment
    open: bool

    @property
    def sure(self) -> str:
        """How unlikely it is to be chance."""
        return f"1 in {10 ** min(self.incident.log10_e, 12):,.0f}"


def told(sources: Sources, known: dict[int, Moment]) -> list[Told]:
    """Incidents, newest first, open ones before closed ones; ``known`` keeps the moments that were looked up."""
    found = [
        Told(incident, described(incident), _moment(sources.store, incident.opened, known), incident.closed is None)
        for incident in reversed(sources.training.incidents[-_SHOWN:])
    ]
    return sorted(found, key=lambda item: not item.open)


def _moment(store: Store, seq: int, known: dict[int, Moment]) -> Moment:
    if seq not in known:  # what stands at a position never changes
        events = store.read_log(seq - 1, 1)
        event = events[0] if events else None
        decided = event.decision if isinstance(event, DecisionEvent) and event.seq == seq else None
        known[seq] = Moment(seq, decided.at if decided else None, decided.id if decided else None)
    return known[seq]


async def incidents(_request: Request, sources: Sources, learned: Learned) -> tuple[str, dict[str, Any]]:
    """All of them."""
    return "incidents.html", {"incidents": await asyncio.to_thread(told, sources, learned.moments), "now": sources.clock()}
