"""Rules that an operator pinned, in a file or at run time: for their task types they are followed instead of what is learned."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from router.domain.overrides import Override


@dataclass(frozen=True, slots=True)
class Pin:
    """Who is called for one task type instead of whom the learner would choose: the first of them that is eligible."""

    models: tuple[str, ...]
    digest: str
    """Of the rules file's content, or of the rule that was pinned at run time."""

    def choice(self, task_type: str, models: Sequence[str]) -> tuple[int, str] | None:
        """Which of the eligible models it says, and the reason; None where it says none of them."""
        found = next((model for model in self.models if model in models), None)
        if found is None:
            return None
        place = "its primary model" if found == self.models[0] else f"{self.models[0]} is not eligible here"
        return models.index(found), f"the rules pinned as {self.digest[:12]} decide {task_type}: {place}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pin that holds, and where it comes from."""

    task_type: str
    models: tuple[str, ...]
    sha256: str
    source: Literal["file", "run time"]
    file: Pin | None
    """What the rules file pins the task type to: it holds again once what was pinned at run time is lifted."""
    at: float | None
    """Unix time when it was pinned at run time."""
    key_id: str | None
    """By whom."""


def digest_of(rules: Mapping[str, Any]) -> str:
    """Of the rules' content, however they are written down."""
    return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def pin_of(task_type: str, models: Sequence[str]) -> Pin:
    """A pin to models in their order, with the hash of a file that holds this rule alone."""
    rule = {"primary": models[0], "alternatives": [{"model": model} for model in models[1:]]}
    return Pin(tuple(models), digest_of({task_type: rule}))


def pinned_now(files: Mapping[str, Pin], overrides: Mapping[str, Override]) -> dict[str, Pinned]:
    """Every pin that holds, by task type: those of the rules file, and those that were set over them."""
    told = {name: Pinned(name, pin.models, pin.digest, "file", pin, None, None) for name, pin in files.items()}
    for name, one in overrides.items():
        if one.value is not None:
            pin = pin_of(name, one.value)
            told[name] = Pinned(name, pin.models, pin.digest, "run time", files.get(name), one.at, one.key_id)
    return dict(sorted(told.items()))
