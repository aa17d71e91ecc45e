"""Pointsman's service: domain, ports, services, storage, HTTP API and command line.

``from router import select_model`` is the library call, ``from router import open_log`` looks into a log; each is loaded when it is
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.library import Selection, select_model
    from router.logbook import Logbook, open_log

__all__ = ["Logbook", "Selection", "open_log", "select_model"]

_HOMES = {"Logbook": "router.logbook", "Selection": "router.library", "open_log": "router.logbook", "select_model": "router.library"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
