"""Compiles, runs and tests Python code in a sandbox; the score is the share of the tests that pass."""

from dataclasses import dataclass, field
from typing import ClassVar

from router.judging import sandbox
from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import fenced
from router.judging.sandbox import Limits, Ran

_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class Code:
    """0 where a limit is broken or something forbidden is tried, whatever the tests say. The standard library is all there is."""

    limits: Limits = field(default_factory=Limits)
    name: ClassVar[str] = "code"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("tests",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Run the fenced Python of the answer, or all of it where nothing is fenced.

        Raises ``JudgeUnavailable`` where code cannot be confined here.
        """
        found = fenced(answer.text, "python", "py", "python3")
        code = answer.text if found is None else found
        if len(code) > _LONGEST:
            return Verdict(0.0, self.name, self.version, f"longer than {_LONGEST} characters")
        ran = sandbox.run(code, case.tests, case.uses, self.limits)
        score = 0.0 if ran.broke is not None else sum(ran.passed) / len(ran.passed)
        parts = {"compiles": float(ran.compiles), "runs": float(ran.runs), "tests": sum(ran.passed) / len(ran.passed)}
        parts["comments"] = float(ran.commented)
        if case.uses:
            parts["uses"] = len(ran.used) / len(set(case.uses))
        return Verdict(score, self.name, self.version, _reason(ran), parts=parts)


def _reason(ran: Ran) -> str:
    if ran.broke is not None:
        return ran.broke
    fault = f" ({ran.faults[0]})" if ran.faults else ""
    if not ran.compiles:
        return f"does not compile{fault}"
    if not ran.runs:
        return f"does not run{fault}"
    return f"{sum(ran.passed)} of {len(ran.passed)} tests pass{fault}"
