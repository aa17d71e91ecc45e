"""Right where the case's pattern matches somewhere in the answer."""

import re
from dataclasses import dataclass
from typing import ClassVar

from router.errors import ConfigurationInvalid
from router.judging.protocol import Answer, Case, Verdict

LONGEST = 100_000
"""Characters that are searched: patterns are the operator's, answers are not."""


@dataclass(frozen=True, slots=True)
class Regex:
    """1 or 0."""

    name: ClassVar[str] = "regex"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("pattern",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Search the answer.

        Raises ``ConfigurationInvalid`` where the pattern is none.
        """
        try:
            pattern = re.compile(case.pattern or "")
        except re.error as exc:
            raise ConfigurationInvalid("the case's pattern is not a regular expression", field="pattern", remedy="correct it") from exc
        right = pattern.search(answer.text[:LONGEST]) is not None
        return Verdict(float(right), self.name, self.version, "matches" if right else "does not match")
