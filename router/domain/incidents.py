"""An incident in the reader's terms: what changed, from what to what, and how sure that is."""

import math
from typing import Any

from learning.drift import Incident, Level
from learning.targets import Target

_NAMES = {Target.QUALITY: "quality", Target.OUTPUT_TOKENS: "output_tokens", Target.LATENCY: "latency_s"}


def described(incident: Incident) -> dict[str, Any]:
    """The facts of an incident without its log positions; tokens and seconds are typical values (geometric means)."""
    return {
        "model": incident.model,
        "task_type": incident.task_type,
        "target": _NAMES[incident.target],
        "direction": "up" if incident.rose else "down",
        "before": _level(incident.target, incident.before),
        "after": _level(incident.target, incident.after),
        "log10_e": incident.log10_e,
        "alarms": incident.alarms,
    }


def _level(target: Target, level: Level) -> dict[str, float]:
    values = {"mean": level.mean, "low": level.low, "high": level.high}
    return values if target is Target.QUALITY else {name: math.exp(value) for name, value in values.items()}
