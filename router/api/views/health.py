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


class FailingPart(View):
    """A part that works beside requests and does not get on; it tries again and again."""

    part: str = Field(description="`training` folds the log, `tallying` counts it, `overrides` takes up what was set at run time, ...")
    error: str = Field(description="The kind of the latest failure; the service's log says where.")
    times: int = Field(description="Failures since it last worked.")
    for_s: float = Field(description="Seconds since the first of them.")


class Readiness(View):
    """Able to decide and to keep what it decides."""

    status: Literal["ready", "degraded"] = Field(
        description="degraded: decisions are taken without the log, or a part that works beside requests fails."
    )
    seq: int = Field(description="Log position up to which the log is learned.")
    lag: int = Field(description="Events committed and not yet learned.")
    lag_s: float = Field(description="For how long there have been such.")
    leads: bool = Field(description="Whether this is the one service of those on a log that keeps the snapshots.")
    digest: str = Field(description="Of the learned state: equal wherever the same log is learned.")
    schema_revision: str
    durability: Literal["full", "normal", "none"]
    writer: WriterState
    set_aside: dict[str, int] = Field(
        description="Records that could never be learned and are left out, by kind; `pointsman db check` lists them."
    )
    failing: list[FailingPart] = Field(description="Parts that do not get on; decisions may rest on what is out of date.")
    catalog: CatalogState
