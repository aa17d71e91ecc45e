"""Computes the cost of past calls anew, with the prices that were in force when they were made."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.domain.catalog import Catalog
from router.domain.events import CostChange, CostEvent, CostSource, Evidence, OutcomeEvent
from router.domain.prices import Dated, billed, cost_of, in_force, timeline
from router.errors import RouterError
from router.ports import Store

_PAGE = 5_000
_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Correction:
    """A cost that is not what the prices say. None = unknown."""

    decision_id: str
    model: str
    at: float
    before_usd: float | None
    after_usd: float | None


def timelines(store: Store, base: Catalog) -> dict[str, tuple[Dated, ...]]:
    """Every price that was ever recorded, by model; ``base`` is what ships with the operator's file over it."""
    names = {model.id for model in base} | {model.id for model in store.models()}
    return {name: timeline(base.get(name) if name in base else None, store.model_versions(name)) for name in names}


def corrections(store: Store, prices: Mapping[str, Sequence[Dated]], *, since: float | None = None) -> list[Correction]:
    """What would change: computed costs, and unknown ones whose tokens were logged. Reported costs stay as they are.

    A model that no price was ever recorded for is left alone. ``since`` is the Unix time of the earliest call.
    Raises ``StorageUnavailable``.
    """
    corrected = {event.decision_seq: event.after_usd for event in _events(store) if isinstance(event, CostEvent)}
    found: list[Correction] = []
    for event in _events(store):
        if not isinstance(event, OutcomeEvent) or event.outcome.cost_source is CostSource.REPORTED:
            continue
        if since is not None and event.outcome.at < since:
            continue
        dated = in_force(prices.get(event.model, ()), event.outcome.at)
        if dated is None:
            continue
        before = corrected.get(event.decision_seq, event.outcome.cost_usd)
        if before is not None and event.outcome.cost_source is None and event.decision_seq not in corrected:
            continue  # nobody says where it comes from
        after = cost_of(dated.price, billed(event.outcome))
        if after is None and dated.price is not None:
            continue  # something that is billed was not logged: that says nothing about what it cost
        if not _same(before, after):
            found.append(Correction(event.outcome.decision_id, event.model, event.outcome.at, before, after))
    return found


def append(store: Store, found: Sequence[Correction], at: float) -> list[RouterError]:
    """Write the corrections to the log and return what was refused; each is exact in what is learned from it.

    Raises ``StorageUnavailable``.
    """
    refused: list[RouterError] = []
    for start in range(0, len(found), _TOGETHER):
        group = [CostChange(one.decision_id, one.after_usd, at) for one in found[start : start + _TOGETHER]]
        refused += [result for result in store.commit(group) if isinstance(result, RouterError)]
    return refused


def _events(store: Store) -> Iterator[Evidence]:
    seq = 0
    while True:
        events, upto = store.read_evidence(seq, _PAGE)
        yield from events
        if upto == seq:
            return
        seq = upto


def _same(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, rel_tol=1e-9, abs_tol=1e-15)  # sums in another order are no news
