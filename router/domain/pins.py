"""Rules that an operator pinned: for their task types they are followed instead of what is learned."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """Who is called for one task type instead of whom the learner would choose: the first of them that is eligible."""

    models: tuple[str, ...]
    digest: str
    """Of the rules file's content."""
