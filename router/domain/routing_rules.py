"""How requests are weighed and drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from router.domain.pins import Pin


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """How requests are weighed and drawn; fixed for the life of the service."""

    policy: str
    policy_parameters: Mapping[str, Any]
    cost_reference_usd: float
    latency_reference_s: float
    fallback_model: str | None
    holdback_share: float
    """Of the episodes that the baseline answers."""
    baseline_model: str | None
    half_life_records: float
    """Of the learned state that decisions are taken from."""
    trusted_judges: tuple[str, ...]
    """Those that the others are measured by there."""
    exploration_quality: float | None
    """Expected points of quality that one decision may give up to learn."""
    exploration_usd: float | None
    """Expected dollars that it may spend on top."""
    safe_model: str | None
    """Known to do: others take its place as far as evidence shows them no worse."""
    safe_shortfall: float
    """Utility that a decision may be expected to fall below it."""
    salt: bytes
    """Of the draws."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """By task type: whom to call instead of drawing."""

    def told(self) -> dict[str, Any]:
        """All but the salt, JSON-ready: what the log keeps, and what ``policy_version`` is the hash of."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("salt", "pins")}
        pins = {"pins": {task_type: pin.digest for task_type, pin in sorted(self.pins.items())}} if self.pins else {}
        return kept | {"policy_parameters": dict(sorted(self.policy_parameters.items()))} | pins
