"""The pages for people: what was decided and why, what was learned, what it costs and saves."""

from router.dashboard.app import routes
from router.dashboard.sources import Sources

__all__ = ["Sources", "routes"]
