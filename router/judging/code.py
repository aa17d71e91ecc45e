"""Compiles, runs and tests Python code in a sandbox; the score is the share of the tests that pass."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import ClassVar, cast

from router.errors import ConfigurationInvalid
from router.judging import sandbox
from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import fenced
from router.judging.sandbox import Limits, Ran

_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class Code:
    """0 where a limit is broken or something forbidden is tried, whatever the tests say. The standard library is all there is."""

    limits: Limits | Mapping[str, float] = field(default_factory=Limits)
    """What the code may use up; as a mapping, what differs from the usual."""
    name: ClassVar[str] = "code"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("tests",)

    def __post_init__(self) -> None:
        if not isinstance(self.limits, Limits):
            known = {one.name for one in fields(Limits)}
            if strange := set(self.limits) - known:
                raise ConfigurationInvalid(
                    f"the code judge has no limit {', '.join(sorted(strange))}", field="limits", remedy=f"it has {', '.join(sorted(known))}"
                )
            object.__setattr__(self, "limits", Limits(**(asdict(Limits()) | dict(self.limits))))

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Run the fenced Python of the answer, or all of it where nothing is fenced.

        Raises ``JudgeUnavailable`` where code cannot be confined here.
        """
        found = fenced(answer.text, "python", "py", "python3")
        code = answer.text if found is None else found
        if len(code) > _LONGEST:
            return Verdict(0.0, self.name, self.version, f"longer than {_LONGEST} characters")
        ran = sandbox.run(code, case.tests, case.uses, cast(Limits, self.limits))
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
