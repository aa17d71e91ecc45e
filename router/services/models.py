"""Keeps the catalogue: what ships, the operator's file, and every change made since."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.domain.catalog import Catalog
from router.domain.models import Model, Price
from router.domain.prices import price_at, timeline
from router.errors import ModelConflict, TaskInvalid
from router.ports import Store


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model as it was from ``at`` (Unix time) on."""

    at: float
    model: Model


class ModelService:
    """Holds the current catalogue behind one reference; a change is durable before anyone routes by it."""

    def __init__(self, store: Store, base: Catalog, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._base = base
        self._catalog = base
        self._clock = clock
        self._listeners: list[Callable[[Catalog], None]] = []
        self._changing = asyncio.Lock()
        self.before_use: Callable[[Catalog], Awaitable[None]] | None = None
        """Awaited with a changed catalogue before anyone is told of it."""

    @property
    def catalog(self) -> Catalog:
        """The catalogue as it is now; an immutable value."""
        return self._catalog

    def subscribe(self, listener: Callable[[Catalog], None]) -> None:
        """Call ``listener`` with the catalogue now and after every change."""
        self._listeners.append(listener)
        listener(self._catalog)

    async def load(self) -> None:
        """Put the changes kept in the store over what ships.

        Raises ``StorageUnavailable``.
        """
        async with self._changing:
            await self._read()

    async def announce(self) -> None:
        """Log the arrival of the models that the log does not know yet.

        Raises ``StorageUnavailable``.
        """
        await asyncio.to_thread(self._store.announce, [model.id for model in self._catalog.models], self._clock())

    async def find(self, model_id: str) -> Model:
        """A model of the catalogue, also where another service has only just added it.

        Raises ``ModelNotFound``, ``StorageUnavailable``.
        """
        if model_id not in self._catalog:
            await self.load()
        return self._catalog.get(model_id)

    async def add(self, model: Model) -> Model:
        """Add a model; it can be chosen from the next decision on.

        Raises ``ModelConflict`` where the id is taken, ``TaskInvalid`` naming the field.
        """
        async with self._changing:
            await self._read()
            if model.id in self._catalog:
                raise ModelConflict(
                    "a model with this id exists already",
                    field="id",
                    remedy="change it with PATCH /v1/models/{id}, which also brings a retired model back",
                )
            return await self._keep(model)

    async def change(self, model_id: str, facts: Mapping[str, Any]) -> Model:
        """Change facts of a model; the next decision uses them, and what was learned stays.

        Raises ``ModelNotFound``, ``TaskInvalid`` naming the field.
        """
        async with self._changing:
            await self._read()
            return await self._keep(replace(self._catalog.get(model_id), **facts))

    async def retire(self, model_id: str) -> Model:
        """Take a model out of routing; it stays listed and keeps what was learned about it.

        Raises ``ModelNotFound``, ``TaskInvalid`` for the last active model.
        """
        async with self._changing:
            await self._read()
            return await self._keep(replace(self._catalog.get(model_id), retired=True))

    async def history(self, model_id: str) -> list[ModelVersion]:
        """The versions made at run time, oldest first; empty for a model that is as it shipped.

        Raises ``ModelNotFound``.
        """
        self._catalog.get(model_id)
        return [ModelVersion(at, model) for at, model in await asyncio.to_thread(self._store.model_versions, model_id)]

    async def price_at(self, model_id: str, at: float) -> Price | None:
        """The price in force at Unix time ``at``; None where it was unknown.

        Raises ``ModelNotFound``, ``StorageUnavailable``.
        """
        self._catalog.get(model_id)
        base = self._base.get(model_id) if model_id in self._base else None
        return price_at(timeline(base, await asyncio.to_thread(self._store.model_versions, model_id)), at)

    async def _read(self) -> None:
        """What the store holds now, changes of other services included."""
        merged = self._catalog.merged(await asyncio.to_thread(self._store.models))
        if merged.version != self._catalog.version:
            await self._use(merged)

    async def _keep(self, model: Model) -> Model:
        changed = self._catalog.with_model(model)
        if not changed.active:
            raise TaskInvalid("this is the last active model", field="retired", remedy="add or bring back another model first")
        kept = changed.get(model.id)
        if changed is not self._catalog:
            await asyncio.to_thread(self._store.save_model, kept, self._clock())
            await self._use(changed)
        return kept

    async def _use(self, catalog: Catalog) -> None:
        if self.before_use is not None:
            await self.before_use(catalog)
        self._catalog = catalog
        for listener in self._listeners:
            listener(catalog)
