"""Pointsman's service: domain, ports, services, storage, HTTP API and command line.

``from router import select_model`` is the library call; it is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.library import Selection, select_model

__all__ = ["Selection", "select_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from router import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
