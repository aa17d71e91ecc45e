"""Models of the catalogue, in answers."""

from typing import Literal

from pydantic import Field

from router.api.views.view import View


class PriceView(View):
    """USD per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None
    cache_write_usd_per_mtok: float | None
    reasoning_usd_per_mtok: float | None
    usd_per_image: float | None
    usd_per_hardware_s: float | None
    effective_from: str
    source: str
    checked: str


class SpeedView(View):
    """Published speed."""

    ttft_s: float
    output_tokens_per_s: float
    source: str
    checked: str


class _Facts(View):
    id: str
    provider: str
    name: str
    family: str
    context_window: int
    max_output_tokens: int | None
    modalities: list[str]
    capabilities: list[str]
    price: PriceView | None = Field(description="null = unknown, which is not free.")
    speed: SpeedView | None
    source: str
    checked: str
    retired: bool
    version: int
    tags: list[str]


class ModelView(_Facts):
    """A model of the catalogue, in OpenAI's shape."""

    object: Literal["model"]
    created: int
    owned_by: str


class ModelVersionView(_Facts):
    """A model as it was from ``at`` on."""

    at: float


class ModelHistory(ModelView):
    """A model with its versions."""

    versions: list[ModelVersionView]


class UnavailableProvider(View):
    """A provider that cannot be called, and what to do about it."""

    provider: str
    remedy: str
    models: int


class ModelList(View):
    """The models that can be called; where no provider can, the whole catalogue, to choose from."""

    object: Literal["list"]
    data: list[ModelView]
    unavailable: list[UnavailableProvider]
    catalog_version: str
