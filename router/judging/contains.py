"""The share of the expected phrases that the answer contains; none where it has one that it must not have."""

import re
from dataclasses import dataclass
from typing import ClassVar

from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import plain


@dataclass(frozen=True, slots=True)
class Contains:
    """Share of ``contains`` found as whole words; 0 where anything of ``excludes`` is."""

    name: ClassVar[str] = "contains"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("contains",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Look for every phrase."""
        text = plain(answer.text)
        if any(mentions(text, phrase) for phrase in case.excludes):
            return Verdict(0.0, self.name, self.version, "has what it must not have")
        found = sum(mentions(text, phrase) for phrase in case.contains)
        return Verdict(found / len(case.contains), self.name, self.version, f"{found} of {len(case.contains)} phrases")


def mentions(text: str, phrase: str) -> bool:
    """Whether a plain text has a phrase, not inside longer words."""
    return re.search(rf"(?<!\w){re.escape(plain(phrase))}(?!\w)", text) is not None
