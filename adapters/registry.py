"""Adapters by name. A module is imported when its adapter is first asked for, so that unused SDKs cost nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from adapters.errors import AdapterUnavailable
from adapters.types import Adapter


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an adapter lives and what to do where it cannot be imported."""

    module: str
    attribute: str
    """A callable that returns the adapter."""
    remedy: str


@dataclass(frozen=True, slots=True)
class Listing:
    """An adapter as listed: usable, or the remedy."""

    name: str
    usable: bool
    remedy: str | None = None


ADAPTERS: Mapping[str, Entry] = {
    "scripted": Entry(
        "adapters.scripted", "ScriptedAdapter", "reinstall pointsman: the scripted provider ships with it and needs numpy and scipy"
    ),
}
"""The adapters that ship. A new one is a module and a line here."""


def factory(name: str, entries: Mapping[str, Entry] = ADAPTERS) -> Callable[..., Adapter]:
    """Import an adapter and return what builds it.

    Raises ``AdapterUnavailable`` with the remedy.
    """
    entry = entries.get(name)
    if entry is None:
        raise AdapterUnavailable("no adapter has that name", remedy=f"use one of {', '.join(sorted(entries))}")
    try:
        module = import_module(entry.module)
    except ImportError as exc:
        raise AdapterUnavailable(
            f"adapter {name!r} cannot be imported ({exc.name or entry.module} is missing)", remedy=entry.remedy
        ) from exc
    build: Callable[..., Adapter] = getattr(module, entry.attribute)
    return build


def listing(entries: Mapping[str, Entry] = ADAPTERS) -> tuple[Listing, ...]:
    """Every adapter in the order of names, with the remedy where it cannot be imported."""
    return tuple(_listed(name, entries) for name in sorted(entries))


def _listed(name: str, entries: Mapping[str, Entry]) -> Listing:
    try:
        factory(name, entries)
    except AdapterUnavailable as exc:
        return Listing(name, usable=False, remedy=exc.remedy)
    return Listing(name, usable=True)
