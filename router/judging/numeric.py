"""Right where the number that the answer ends on is the expected one."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import candidates

_NUMBER = re.compile(r"[-+−]?\s?(?:\d[\d,_  ]*\d|\d)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?(?:\s*/\s*\d+(?:\.\d+)?)?\s*%?")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([-+]?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_MINUS = str.maketrans("−", "-")


@dataclass(frozen=True, slots=True)
class Numeric:
    """1 or 0; thousands separators, fractions, per cent and LaTeX are read."""

    name: ClassVar[str] = "numeric"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("expected",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Compare the last number of the likeliest place."""
        wanted = [value for text in case.expected if (value := last_number(text)) is not None]
        given = next((value for text in candidates(answer.text) if (value := last_number(text)) is not None), None)
        if given is None:
            return Verdict(0.0, self.name, self.version, "no number in the answer")
        right = any(math.isclose(given, value, rel_tol=case.tolerance, abs_tol=case.tolerance) for value in wanted)
        return Verdict(float(right), self.name, self.version, "as expected" if right else "another number")


def last_number(text: str) -> float | None:
    """The number that a text ends on; None where it has none."""
    flat = _LATEX_FRACTION.sub(r"\1/\2", text)
    found = [match.group() for match in _NUMBER.finditer(flat) if any(c.isdigit() for c in match.group())]
    return _value(found[-1]) if found else None


def _value(text: str) -> float | None:
    share = text.rstrip().endswith("%")
    bare = re.sub(r"[,_\s  %]", "", text.translate(_MINUS))
    over, _, under = bare.partition("/")
    try:
        value = float(Fraction(over) / Fraction(under)) if under else float(over)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value / 100 if share else value
