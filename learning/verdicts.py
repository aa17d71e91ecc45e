"""From what judges say of one answer to what is folded."""

from collections.abc import Sequence

from learning.foretold import Foretold
from learning.observations import Observation
from learning.targets import Target
from learning.text import TextScore
from learning.voices import Agreement, Score, Verdict, Voice, Voices

Told = dict[tuple[str, str | None], tuple[Score, float]]
"""By judge and source: what counts of one answer's scores, with its weight."""


def told_of(scores: Sequence[Score], voices: Voices) -> Told:
    """What counts of one answer's scores; of ``voices`` only matters who is trusted."""
    return {(score.judge, score.source): (score, weight) for score, weight in voices.shares(scores)}


def changes(before: Told, after: Told) -> list[tuple[Score, float]]:
    """What is taken back, with negative weights, and what is put in."""
    gone = [(score, -weight) for name, (score, weight) in before.items() if after.get(name) != (score, weight)]
    return gone + [(score, weight) for name, (score, weight) in after.items() if before.get(name) != (score, weight)]


def items_of(verdict: Verdict, voices: Voices) -> list[Observation | Agreement | TextScore]:
    """A change of what judges say of one answer, as what is folded."""
    before, after = told_of(verdict.before, voices), told_of(verdict.after, voices)
    model, task_type, clock = verdict.model, verdict.task_type, verdict.clock
    changed = changes(before, after)
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
        for score, weight in changed
    ]
    if (foretold := verdict.foretold) is not None:
        items += text_scores(foretold, model, task_type, clock, changed)
    return [*items, *agreements_of(verdict.before, verdict.after, model, clock, voices)]


def text_scores(
    foretold: Foretold, model: str, task_type: str, clock: int, changed: Sequence[tuple[Score, float]]
) -> list[TextScore]:
    """What a change of one answer's scores tells of its task's text."""
    return [TextScore(foretold, model, task_type, clock, s.value, weight, Voice(s.judge, s.source)) for s, weight in changed]


def agreements_of(before: Sequence[Score], after: Sequence[Score], model: str, clock: int, voices: Voices) -> list[Agreement]:
    """What a change of one answer's scores tells of its judges."""
    return voices.agreements(before, model, clock, -1.0) + voices.agreements(after, model, clock, 1.0)
