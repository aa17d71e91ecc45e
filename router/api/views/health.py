"""Whether the service lives and can work."""

from typing import Literal

from pydantic import Field

from router.api.views.view import View


class Health(View):
    """Alive."""

    status: Literal["ok"]


class WriterState(View):
    """The queue in front of the log."""

    waiting: int
    max: int


class CatalogState(View):
    """The catalogue in use."""

    version: str
    active_models: int


class Readiness(View):
    """Able to decide and to keep what it decides."""

    status: Literal["ready"]
    seq: int = Field(description="Log position up to which the log is learned.")
    lag: int = Field(description="Events committed and not yet learned.")
    digest: str = Field(description="Of the learned state: equal wherever the same log is learned.")
    schema_revision: str
    durability: Literal["full", "normal", "none"]
    writer: WriterState
    catalog: CatalogState
