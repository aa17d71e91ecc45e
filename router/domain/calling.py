"""What a decision must know where the service makes the call itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.domain.decisions import Exclusion
from router.domain.episodes import Last
from router.errors import AllModelsBusy


@dataclass(frozen=True, slots=True)
class Calling:
    """What can be called now, and what the request or its episode already settles."""

    resting: Mapping[str, float]
    """Models whose circuit is open, with the seconds until they may be called."""
    model: str | None = None
    """The one that the request names."""
    last: Last | None = None
    """The episode's last answered call."""

    def exclusion(self, model_id: str) -> Exclusion:
        """Why a resting model is left out."""
        return Exclusion(model_id, "circuit_open", f"{model_id} failed repeatedly and rests for {self.resting[model_id]:.1f} s")


def busy(message: str, wait_s: float) -> AllModelsBusy:
    """The refusal where only waiting helps."""
    return AllModelsBusy(message, remedy="send the request again after a moment, or allow another model", retry_after_s=max(wait_s, 0.1))


def remedies(told: Iterable[str]) -> str:
    """Several remedies as one, each once."""
    return "; or ".join(dict.fromkeys(told)) or "add a model of a provider that has a key"
