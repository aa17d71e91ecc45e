"""From what judges say of one answer to what is folded."""

import math
from dataclasses import dataclass

from learning.statistics import Observation
from learning.targets import Target
from learning.text import Foretold
from learning.voices import Agreement, Verdict, Voice, Voices


@dataclass(frozen=True, slots=True)
class TextScore:
    """The score of an answer whose task's text was read; a negative weight takes it back."""

    foretold: Foretold
    model: str
    task_type: str
    clock: int
    score: float
    weight: float


def items_of(verdict: Verdict, voices: Voices) -> list[Observation | Agreement | TextScore]:
    """A change of what judges say of one answer: what they said is taken back, what they say is put in.

    Of ``voices`` only matters who is trusted.
    """
    told = [{(s.judge, s.source): (s, w) for s, w in voices.shares(scores)} for scores in (verdict.before, verdict.after)]
    items: list[Observation | Agreement | TextScore] = []
    for sign, mine, other in ((-1.0, told[0], told[1]), (1.0, told[1], told[0])):
        for name, (score, weight) in mine.items():
            if other.get(name) != (score, weight):
                items.append(
                    Observation(
                        Target.QUALITY,
                        verdict.model,
                        verdict.task_type,
                        verdict.features,
                        score.value,
                        verdict.clock,
                        sign * weight,
                        correction=bool(verdict.before),
                        voice=Voice(score.judge, score.source),
                    )
                )
    if (foretold := verdict.foretold) is not None:
        for sign, said in zip((-1.0, 1.0), told, strict=True):
            if weight := math.fsum(w for _, w in said.values()):
                mean = math.fsum(s.value * w for s, w in said.values()) / weight
                items.append(TextScore(foretold, verdict.model, verdict.task_type, verdict.clock, mean, sign * weight))
    for sign, scores in ((-1.0, verdict.before), (1.0, verdict.after)):
        items += voices.agreements(scores, verdict.model, verdict.clock, sign)
    return items
