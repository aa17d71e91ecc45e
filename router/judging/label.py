"""Right where the answer settles on the expected label; naming several is wrong unless one of them is said to be the answer."""

from dataclasses import dataclass
from typing import ClassVar

from router.judging.contains import mentions
from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import candidates, plain


@dataclass(frozen=True, slots=True)
class Label:
    """1 or 0."""

    name: ClassVar[str] = "label"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("expected", "labels")

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Take the first place that names exactly one label."""
        chosen = self._chosen(case.labels, answer.text)
        if chosen is None:
            return Verdict(0.0, self.name, self.version, "no single label in the answer")
        right = plain(chosen) in {plain(one) for one in case.expected}
        return Verdict(float(right), self.name, self.version, "as expected" if right else "another label")

    @staticmethod
    def _chosen(labels: tuple[str, ...], text: str) -> str | None:
        for place in candidates(text):
            flat = plain(place)
            if equal := [label for label in labels if plain(label) == flat]:
                return equal[0]
            named = [label for label in labels if mentions(flat, label)]
            longest = [label for label in named if not any(label != other and mentions(plain(other), label) for other in named)]
            if len(longest) == 1:
                return longest[0]
        return None
