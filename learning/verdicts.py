"""From what judges say of one answer to what is folded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from learning.observations import Observation
from learning.targets import Target
from learning.text import Foretold
from learning.voices import Agreement, Score, Verdict, Voice, Voices


@dataclass(frozen=True, slots=True)
class TextScore:
    """The score of an answer whose task's text was read; a negative weight takes it back."""

    foretold: Foretold
    model: str
    task_type: str
    clock: int
    score: float
    weight: float


Told = dict[tuple[str, str | None], tuple[Score, float]]
"""By judge and source: what counts of one answer's scores, with its weight."""


def told_of(scores: Sequence[Score], voices: Voices) -> Told:
    """What counts of one answer's scores; of ``voices`` only matters who is trusted."""
    return {(score.judge, score.source): (score, weight) for score, weight in voices.shares(scores)}


def changes(before: Told, after: Told) -> list[tuple[Score, float]]:
    """What is taken back, with negative weights, and what is put in."""
    gone = [(score, -weight) for name, (score, weight) in before.items() if after.get(name) != (score, weight)]
    return gone + [(score, weight) for name, (score, weight) in after.items() if before.get(name) != (score, weight)]


def text_changes(before: Told, after: Told) -> list[tuple[float, float]]:
    """The mean score that a text is judged by, with its weight: what is taken back, and what is put in."""
    found: list[tuple[float, float]] = []
    for sign, told in ((-1.0, before), (1.0, after)):
        if weight := math.fsum(w for _, w in told.values()):
            found.append((math.fsum(s.value * w for s, w in told.values()) / weight, sign * weight))
    return found


def items_of(verdict: Verdict, voices: Voices) -> list[Observation | Agreement | TextScore]:
    """A change of what judges say of one answer, as what is folded."""
    before, after = told_of(verdict.before, voices), told_of(verdict.after, voices)
    model, task_type, clock = verdict.model, verdict.task_type, verdict.clock
    items: list[Observation | Agreement | TextScore] = [
        Observation(
            Target.QUALITY,
            model,
            task_type,
            verdict.features,
            score.value,
            clock,
            weight,
            correction=bool(verdict.before),
            voice=Voice(score.judge, score.source),
        )
        for score, weight in changes(before, after)
    ]
    if (foretold := verdict.foretold) is not None:
        items += [TextScore(foretold, model, task_type, clock, mean, weight) for mean, weight in text_changes(before, after)]
    return [*items, *agreements_of(verdict.before, verdict.after, model, clock, voices)]


def agreements_of(before: Sequence[Score], after: Sequence[Score], model: str, clock: int, voices: Voices) -> list[Agreement]:
    """What a change of one answer's scores tells of its judges."""
    return voices.agreements(before, model, clock, -1.0) + voices.agreements(after, model, clock, 1.0)
