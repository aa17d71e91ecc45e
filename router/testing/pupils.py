"""Scripted models of known quality: each answers a battery's cases right with its own probability per task type."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from router.domain.battery import Section
from router.testing.scenarios import Asked, Scenario


@dataclass(frozen=True, slots=True)
class Pupil:
    """One model."""

    quality: Mapping[str, float]
    """Probability of a right answer by task type; others are answered wrong."""
    tokens_per_s: float | None = None
    """None: answers at once."""
    first_token_s: float = 0.0


class Pupils:
    """What a stub does with the calls of a battery. The same model says the same to the same case every time."""

    def __init__(self, pupils: Mapping[str, Pupil], sections: Iterable[Section], seed: int = 0) -> None:
        self._pupils = {model.partition("/")[2]: pupil for model, pupil in pupils.items()}
        self._cases = {
            (case.prompt, case.image is not None and _short(case.image)): (section.task_type, case)
            for section in sections
            for case in section.cases
        }
        self._seed = seed

    def __call__(self, asked: Asked) -> Scenario | None:
        """The answer; None where neither the model nor the case is known."""
        pupil = self._pupils.get(asked.model)
        last = asked.messages[-1]
        key = (last.text, bool(last.images) and _short(last.images[0].url))
        if pupil is None or key not in self._cases:
            return None
        task_type, case = self._cases[key]
        right = _uniform(f"{self._seed}|{asked.model}|{task_type}|{case.id}") < pupil.quality.get(task_type, 0.0)
        text = case.reference if right else case.wrong or ""
        wait = 0.0 if pupil.tokens_per_s is None else len(text.split()) / pupil.tokens_per_s
        return Scenario(text=text, latency_s=pupil.first_token_s + wait)

    def rate(self, model: str, task_type: str) -> float:
        """The share of its cases of a type that a model answers right: what a battery of them must find."""
        pupil, mine = self._pupils[model.partition("/")[2]], [case for kind, case in self._cases.values() if kind == task_type]
        name = model.partition("/")[2]
        right = [_uniform(f"{self._seed}|{name}|{task_type}|{case.id}") < pupil.quality.get(task_type, 0.0) for case in mine]
        return sum(right) / len(right)


def _uniform(key: str) -> float:
    return int.from_bytes(blake2b(key.encode(), digest_size=7).digest()) / 256.0**7


def _short(url: str) -> str:
    return blake2b(url.partition(",")[2].encode(), digest_size=8).hexdigest()
