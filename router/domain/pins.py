"""Rules that an operator pinned: for their task types they are followed instead of what is learned."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """Who is called for one task type instead of whom the learner would choose: the first of them that is eligible."""

    models: tuple[str, ...]
    digest: str
    """Of the rules file's content."""

    def choice(self, task_type: str, models: Sequence[str]) -> tuple[int, str] | None:
        """Which of the eligible models it says, and the reason; None where it says none of them."""
        found = next((model for model in self.models if model in models), None)
        if found is None:
            return None
        place = "its primary model" if found == self.models[0] else f"{self.models[0]} is not eligible here"
        return models.index(found), f"the rules pinned as {self.digest[:12]} decide {task_type}: {place}"
