"""Right where the answer is one of the expected ones, whatever its case, blanks and marks around it."""

from dataclasses import dataclass
from typing import ClassVar

from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import candidates, plain


@dataclass(frozen=True, slots=True)
class Exact:
    """1 or 0."""

    whole: bool = False
    """True: the whole answer must be the expected one; False: its box, what follows "answer:" or its last line may be."""
    name: ClassVar[str] = "exact"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("expected",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Compare with every expected answer."""
        given = [answer.text] if self.whole else candidates(answer.text)
        right = {plain(one) for one in given} & {plain(one) for one in case.expected}
        return Verdict(float(bool(right)), self.name, self.version, "as expected" if right else "not as expected")
