"""Reads a stretch of the log for how its judges judge."""

from collections.abc import Callable, Mapping
from typing import Protocol

from learning.calibration import Calibration
from router.domain.events import Evidence, FeedbackEvent
from router.domain.judge_measures import Calibrated, JudgeMeasures, JudgeReport

WINDOW = 200_000
"""Log positions that are looked at, the latest."""
_PAGE = 10_000


class Log(Protocol):
    """The evidence in the log."""

    def read_evidence(self, after_seq: int, limit: int) -> tuple[list[Evidence], int]: ...

    def last_seq(self) -> int: ...


def judge_report(
    log: Log,
    calibrations: Mapping[str, Calibration],
    trusts: Callable[[str], bool],
    window: int = WINDOW,
    tell: Callable[[int, int], None] | None = None,
) -> JudgeReport:
    """Measure the judges over the latest ``window`` positions; blocks. ``tell``: how many of them are read.

    ``calibrations``: what the learner makes of each judge; ``trusts``: which judges are the measure.

    Raises ``StorageUnavailable``.
    """
    last = log.last_seq()
    after = first = max(0, last - window)
    measures = JudgeMeasures()
    while after < last:
        events, upto = log.read_evidence(after, min(_PAGE, last - after))
        for event in events:
            if isinstance(event, FeedbackEvent):
                measures.fold(event)
        if upto == after:
            break
        after = upto
        if tell is not None:
            tell(after - first, last - first)
    told = {
        judge: Calibrated(known.offset, known.slope, max(known.noise_var, 0.0) ** 0.5, known.shared)
        for judge, known in calibrations.items()
    }
    return measures.report(first, after, told, trusts)
