"""One call of a battery: its id, what is sent, and what is logged of it."""

from hashlib import blake2b
from typing import Any

from adapters.types import CompletionRequest, Image, Message, Text
from learning.features import encode, to_bytes
from router.domain.battery import Case, Section, Unit
from router.domain.battery_cost import context_tokens
from router.domain.models import Modality


def decision_id(run_id: str, unit: Unit) -> str:
    """The id of a call: the same whenever the run is taken up again."""
    key = "\x00".join((run_id, unit.task_type, unit.case_id, str(unit.repetition), unit.model))
    return f"dec_{blake2b(key.encode(), digest_size=16).hexdigest()}"


def features_of(section: Section, case: Case) -> bytes:
    """As a live request of the same case would be encoded."""
    needs = section.needs
    return to_bytes(
        encode(
            context_tokens(section, case),
            non_text_input=Modality.IMAGE in section.modalities,
            needs_tools="tools" in needs,
            needs_json="json" in needs,
        )
    )


def request_of(section: Section, case: Case) -> dict[str, Any]:
    """What the log keeps of the task: numbers only."""
    kept = {
        "draw": 0,
        "context_tokens": context_tokens(section, case),
        "max_output_tokens": section.max_output_tokens,
        "needs": sorted(section.needs),
        "modalities": sorted(section.modalities),
    }
    return {name: value for name, value in kept.items() if value != []}


def completion_request(model: str, section: Section, case: Case, temperature: float | None) -> CompletionRequest:
    """What the provider is asked."""
    said = [Message("system", section.system)] if section.system else []
    asked = case.prompt if case.image is None else (Text(case.prompt), Image(case.image))
    return CompletionRequest(
        model,
        (*said, Message("user", asked)),
        max_output_tokens=section.max_output_tokens,
        temperature=temperature,
        metadata={"task_type": section.task_type},
    )
