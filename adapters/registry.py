"""Adapters by provider. A module is imported when its adapter is first asked for, so that unused SDKs cost nothing."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from adapters.endpoints import ENDPOINTS, Endpoint, sendable
from adapters.errors import AdapterUnavailable
from adapters.openai_calls import Client
from adapters.types import Adapter, Timeouts


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an adapter lives, what it needs, and what to do where that is missing."""

    module: str
    attribute: str
    """A callable that returns the adapter."""
    remedy: str
    """What to do where it cannot be imported."""
    needs: tuple[str, ...] = ()
    """Modules that an extra of the distribution brings."""
    key_variables: tuple[str, ...] = ()
    """Where its key is found, the first that is set; none: it asks for no key."""
    remote: bool = True
    """It calls out, so it takes a key, a base URL and timeouts."""
    notice: str | None = None
    """What an operator should know."""
    only_named: bool = False
    """Used only where an operator asks for it by name."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """An adapter as listed: usable, or the remedy."""

    name: str
    usable: bool
    remedy: str | None = None
    notice: str | None = None
    only_named: bool = False


def _endpoint(row: Endpoint) -> Entry:
    return Entry(
        "adapters.openai_compatible",
        "OpenAICompatibleAdapter",
        "pip install 'pointsman[openai]'",
        needs=("openai", "aiohttp"),
        key_variables=row.key_variables,
        options={"endpoint": row},
    )


_GOOGLE_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
ADAPTERS: Mapping[str, Entry] = {
    **{name: _endpoint(row) for name, row in ENDPOINTS.items()},
    "anthropic": Entry(
        "adapters.anthropic",
        "AnthropicAdapter",
        "pip install 'pointsman[anthropic]'",
        needs=("anthropic", "aiohttp"),
        key_variables=("ANTHROPIC_API_KEY",),
    ),
    "google": Entry(
        "adapters.gemini", "GeminiAdapter", "pip install 'pointsman[gemini]'", needs=("google.genai",), key_variables=_GOOGLE_KEYS
    ),
    "google-legacy": Entry(
        "adapters.gemini_legacy",
        "GeminiLegacyAdapter",
        "pip install 'pointsman[gemini-legacy]', or better 'pointsman[gemini]' and the provider google",
        needs=("google.generativeai",),
        key_variables=_GOOGLE_KEYS,
        notice="google-generativeai is deprecated: at its end of life upstream; use the provider google",
        only_named=True,
    ),
    "replicate": Entry(
        "adapters.replicate",
        "ReplicateAdapter",
        "pip install 'pointsman[replicate]'",
        needs=("replicate",),
        key_variables=("REPLICATE_API_TOKEN",),
    ),
    "scripted": Entry(
        "adapters.scripted",
        "ScriptedAdapter",
        "reinstall pointsman: the scripted provider ships with it and needs numpy and scipy",
        remote=False,
        only_named=True,  # its answers are invented
    ),
}
"""The adapters that ship, by the catalogue's provider names. A new one is a module and an entry here, or a row of ``endpoints``."""


def with_endpoints(rows: Iterable[Endpoint], entries: Mapping[str, Entry] = ADAPTERS) -> Mapping[str, Entry]:
    """The entries with an operator's OpenAI-compatible endpoints added, or put in place of those of the same name."""
    return {**entries, **{row.name: _endpoint(row) for row in rows}}


def with_client(client: Client, entries: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """The entries with all OpenAI-compatible endpoints called by ``client``."""
    return {
        name: replace(entry, options={**entry.options, "client": client}) if "endpoint" in entry.options else entry
        for name, entry in entries.items()
    }


def factory(name: str, entries: Mapping[str, Entry] = ADAPTERS) -> Callable[..., Adapter]:
    """Import an adapter and return what builds it.

    Raises ``AdapterUnavailable`` with the remedy.
    """
    entry = _entry(name, entries)
    try:
        module = import_module(entry.module)
    except ImportError as exc:
        raise _missing(name, entry, exc.name or entry.module) from exc
    build: Callable[..., Adapter] = getattr(module, entry.attribute)
    return build


def build(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    base_url: str | None = None,
    timeouts: Timeouts | None = None,
    entries: Mapping[str, Entry] = ADAPTERS,
) -> Adapter:
    """Build a provider's adapter with the key from the environment.

    Raises ``AdapterUnavailable`` with the remedy.
    """
    entry = _entry(name, entries)
    known = os.environ if environ is None else environ
    if (problem := _problem(name, entry, known)) is not None:
        raise problem
    made = factory(name, entries)
    return made(_key(entry, known) or "", base_url=base_url, timeouts=timeouts, **entry.options) if entry.remote else made(**entry.options)


def listing(entries: Mapping[str, Entry] = ADAPTERS, *, environ: Mapping[str, str] | None = None) -> tuple[Listing, ...]:
    """Every adapter in the order of names, with the remedy where it has no SDK or no key; imports no SDK."""
    known = os.environ if environ is None else environ
    return tuple(_listed(name, entries[name], known) for name in sorted(entries))


def _listed(name: str, entry: Entry, environ: Mapping[str, str]) -> Listing:
    problem = _problem(name, entry, environ)
    return Listing(name, problem is None, None if problem is None else problem.remedy, entry.notice, entry.only_named)


def _entry(name: str, entries: Mapping[str, Entry]) -> Entry:
    entry = entries.get(name)
    if entry is None:
        raise AdapterUnavailable("no adapter has that name", remedy=f"use one of {', '.join(sorted(entries))}")
    return entry


def _problem(name: str, entry: Entry, environ: Mapping[str, str]) -> AdapterUnavailable | None:
    missing = next((module for module in (entry.module, *entry.needs) if not _found(module)), None)
    if missing is not None:
        return _missing(name, entry, missing)
    if not entry.key_variables:
        return None
    key, variables = _key(entry, environ), " or ".join(entry.key_variables)
    if key is None:
        return AdapterUnavailable(f"provider {name!r} has no key", remedy=f"set {variables}")
    if not sendable(key):
        told = f"the key of provider {name!r} holds what no header can carry"
        return AdapterUnavailable(told, remedy=f"set {variables} again, on one line and without typographic signs")
    return None


def _missing(name: str, entry: Entry, module: str) -> AdapterUnavailable:
    return AdapterUnavailable(f"adapter {name!r} cannot be imported ({module} is missing)", remedy=entry.remedy)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def _key(entry: Entry, environ: Mapping[str, str]) -> str | None:
    return next((environ[name].strip() for name in entry.key_variables if environ.get(name, "").strip()), None)
