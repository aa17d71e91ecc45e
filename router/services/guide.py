"""Keeps what the log says was measured, and puts the model selection guide together."""

import asyncio
from collections.abc import Callable, Mapping

from learning.choice import Preference
from learning.posterior import Posterior
from router.domain.catalog import Catalog
from router.domain.guide import Guide, assemble
from router.domain.measurements import Measurements
from router.ports import Store

_PAGE = 5_000


class GuideService:
    """Reads the log once, when first asked, and from then on what was added."""

    def __init__(
        self,
        store: Store,
        *,
        posterior: Callable[[], Posterior],
        digest: Callable[[], str],
        catalog: Callable[[], Catalog],
        preference: Preference,
        weights: Mapping[str, float],
    ) -> None:
        self._store = store
        self._posterior = posterior
        self._digest = digest
        self._catalog = catalog
        self._preference = preference
        self._weights = dict(weights)
        self._measurements = Measurements()
        self._turn = asyncio.Lock()

    async def guide(self) -> Guide:
        """As of now.

        Raises ``StorageUnavailable``.
        """
        async with self._turn:
            return await asyncio.to_thread(self._assemble, self._posterior(), self._digest(), self._catalog())

    def _assemble(self, posterior: Posterior, digest: str, catalog: Catalog) -> Guide:
        self._catch_up()
        return assemble(self._measurements, posterior, catalog, self._preference, weights=self._weights, digest=digest)

    def _catch_up(self) -> None:
        known = self._measurements
        while True:
            events, upto = self._store.read_evidence(known.seq, _PAGE)
            for event in events:
                known.fold(event)
            if upto == known.seq:
                return
            known.seq = upto
