"""The models that can be called and the dated facts about them."""

from dataclasses import dataclass, field
from enum import StrEnum


class Modality(StrEnum):
    """A kind of input that a model reads."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


class Capability(StrEnum):
    """Something a request may need beyond plain completion."""

    TOOLS = "tools"
    JSON = "json"
    STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class Price:
    """A list price, valid from a date until the next one.

    Unknown is ``None`` on the model, never a price of zero; zero means free. A rate that is left out is not billed apart: cached and
    cache-writing input cost what input costs, reasoning what output costs, an image its tokens.
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    effective_from: str = ""
    """ISO date or time (UTC) from which the price holds."""
    source: str = ""
    """Where the figure was read."""
    checked: str = ""
    """ISO date on which the source was read."""
    cache_write_usd_per_mtok: float | None = None
    """Of input that the provider stores for later calls."""
    reasoning_usd_per_mtok: float | None = None
    """Of the output that the caller does not see."""
    usd_per_image: float | None = None
    usd_per_hardware_s: float | None = None
    """Of the machine that runs the model; where this is set, no forecast can be made from tokens."""


@dataclass(frozen=True, slots=True)
class SpeedFacts:
    """Published speed: the prior of the latency estimate, replaced by observation."""

    ttft_s: float
    """Seconds to the first token."""
    output_tokens_per_s: float
    source: str = ""
    checked: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One callable offering: provider + model name. ``id`` is ``provider/name`` and never changes."""

    id: str
    provider: str
    name: str
    family: str
    context_window: int
    """Tokens of input and output together."""
    max_output_tokens: int | None = None
    modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    capabilities: frozenset[Capability] = frozenset()
    price: Price | None = None
    speed: SpeedFacts | None = None
    source: str = ""
    """Where the window and modalities were read."""
    checked: str = ""
    retired: bool = False
    version: int = 1
    """Counts the changes of this model's facts."""
    tags: frozenset[str] = field(default_factory=frozenset)
