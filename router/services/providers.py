"""The providers that can be called, and what the others lack."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import structlog

from adapters import registry
from adapters.endpoints import Endpoint
from adapters.errors import AdapterUnavailable
from adapters.openai_calls import Client
from adapters.registry import ADAPTERS, Entry
from adapters.scripted import ScriptedAdapter
from adapters.types import Adapter, CompletionRequest, StreamEvent, TextDelta, Timeouts, ToolCallDelta
from router.domain.catalog import Catalog
from router.errors import ConfigurationInvalid

SCRIPTED = "scripted"
"""Not a provider of models of its own: it stands in for those that its table knows."""

_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")

log = structlog.get_logger("providers")


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider, and what it lacks; no remedy: it can be called."""

    name: str
    remedy: str | None = None
    notice: str | None = None


class Providers:
    """Adapters by provider; ``remedies``: what the others lack."""

    def __init__(self, adapters: Mapping[str, Adapter], remedies: Mapping[str, str]) -> None:
        self._adapters = dict(adapters)
        self._remedies = dict(remedies)
        scripted = self._adapters.pop(SCRIPTED, None)
        self._scripted = scripted if isinstance(scripted, ScriptedAdapter) else None
        self._played = frozenset(self._scripted.world.table.models) if self._scripted is not None else frozenset[str]()

    @property
    def names(self) -> tuple[str, ...]:
        """The providers that can be called."""
        return (*sorted(self._adapters), *((SCRIPTED,) if self._scripted is not None else ()))

    @property
    def remedies(self) -> Mapping[str, str]:
        """What to do for each provider that cannot."""
        return self._remedies

    def adapter(self, model_id: str) -> Adapter:
        """What calls a model that is not ``unavailable``."""
        found = self._adapters.get(model_id.partition("/")[0])
        if found is None and model_id in self._played:
            found = self._scripted
        if found is None:
            raise AdapterUnavailable("the model has no adapter", remedy="GET /v1/models lists those that can be called", model=model_id)
        return found

    def serves(self, model_id: str) -> bool:
        """Whether ``adapter`` finds one."""
        return model_id.partition("/")[0] in self._adapters or model_id in self._played

    def unavailable(self, catalog: Catalog) -> dict[str, str]:
        """The active models that cannot be called, with the remedy."""
        return {
            model.id: self._remedies.get(model.provider, "no adapter serves this provider; set its URL with POINTSMAN_PROVIDER_URLS")
            for model in catalog.active
            if not self.serves(model.id)
        }

    def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """The pieces of an answer, in one where the adapter does not stream."""
        adapter = self.adapter(request.model)
        streaming = getattr(adapter, "stream", None)
        events: AsyncGenerator[StreamEvent, None] = _whole(adapter, request) if streaming is None else streaming(request)
        return events

    async def close(self) -> None:
        """Give back connections."""
        scripted = () if self._scripted is None else (self._scripted,)
        await asyncio.gather(*(adapter.close() for adapter in (*self._adapters.values(), *scripted)))


async def _whole(adapter: Adapter, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
    completion = await adapter.complete(request)
    for word in _WORDS.findall(completion.text):
        yield TextDelta(word)
    for index, call in enumerate(completion.tool_calls):
        yield ToolCallDelta(index, call.arguments, call.id, call.name, call.signature)
    yield completion


def survey(chosen: frozenset[str] | None, urls: Mapping[str, str], environ: Mapping[str, str]) -> tuple[Offer, ...]:
    """Every provider that there is an adapter for, by name, without importing an SDK. Arguments as of ``connect``.

    Raises ``ConfigurationInvalid`` where a chosen provider does not exist or cannot be called.
    """
    entries = _entries(urls, environ)
    if chosen is not None and (strangers := chosen - entries.keys()):
        raise ConfigurationInvalid(
            f"{len(strangers)} of the providers to offer have no adapter", field="providers", remedy=f"use {', '.join(sorted(entries))}"
        )
    found: list[Offer] = []
    for listed in registry.listing(entries, environ=environ):
        remedy = listed.remedy
        if chosen is not None and listed.name in chosen:
            if not listed.usable:
                raise ConfigurationInvalid(f"the provider {listed.name} cannot be called", field="providers", remedy=remedy)
        elif chosen is not None or (listed.usable and listed.only_named):
            remedy = "add it to POINTSMAN_PROVIDERS"
        found.append(Offer(listed.name, remedy, listed.notice))
    return tuple(found)


async def connect(
    chosen: frozenset[str] | None,
    urls: Mapping[str, str],
    timeouts: Timeouts,
    environ: Mapping[str, str],
    *,
    client: Client = Client.DIRECT,
) -> Providers:
    """Build the adapter of every provider with an SDK and a key, or only of the ``chosen`` ones; ``urls`` replace or add addresses,
    ``client`` carries the calls to OpenAI-compatible endpoints.

    Raises ``ConfigurationInvalid`` where a chosen provider cannot be called.
    """
    entries = registry.with_client(client, _entries(urls, environ))
    adapters: dict[str, Adapter] = {}
    remedies: dict[str, str] = {}
    for offer in survey(chosen, urls, environ):
        name = offer.name
        if offer.remedy is not None:
            remedies[name] = offer.remedy
            continue
        try:
            await asyncio.to_thread(registry.factory, name, entries)  # importing an SDK takes up to seconds
            adapters[name] = registry.build(name, environ=environ, base_url=urls.get(name), timeouts=timeouts, entries=entries)
        except AdapterUnavailable as exc:
            remedies[name] = exc.remedy
            continue
        if offer.notice:
            log.warning("provider.notice", provider=name, notice=offer.notice)
    return Providers(adapters, remedies)


def _entries(urls: Mapping[str, str], environ: Mapping[str, str]) -> Mapping[str, Entry]:
    """The adapters that ship, and an OpenAI-compatible endpoint for every other name that has a URL."""
    rows = []
    for name in sorted(urls.keys() - ADAPTERS.keys()):
        variable = name.upper().replace("-", "_") + "_API_KEY"
        rows.append(Endpoint(name, urls[name], (variable,) if environ.get(variable, "").strip() else ()))
    return registry.with_endpoints(rows)
