"""``pointsman judges``: who scores answers, and how far that can be relied on."""

from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import money, number, print_json, print_line, print_table, progress, share
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.decisions import Estimate
    from router.domain.judge_measures import JudgeReport, Measured


def judges(
    window: Annotated[int, typer.Option(min=1, help="Log positions to look at, the latest.")] = 200_000,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how judges agree with each other and with the trusted ones, how often order sways them, and whether they have moved."""
    from router import config, library
    from router.services.judge_report import judge_report
    from router.storage.sql import SqlStore

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    selector = library.selector(settings.database_url)
    with progress("reading the log") as tell:
        selector.read(tell)
    voices = selector.voices()
    store = SqlStore(settings.database_url)
    try:
        with progress("judges") as tell:
            report = judge_report(store, voices.calibrations, voices.trusts, window, tell)
    finally:
        store.close()
    if as_json:
        print_json(report)
    else:
        _show(report)


def _show(report: "JudgeReport") -> None:
    if not report.judges:
        print_line("no answer has been scored yet")
        return
    print_table(
        f"judges, log positions {report.after_seq + 1:,} to {report.upto:,}",
        ("judge", "scores", "mean", "sd", "cost", "drawn with", "flips", "has moved by [90 %]", "beside a trusted judge"),
        [_row(judge) for judge in report.judges],
        figures=range(1, 8),
    )
    if report.agreements:
        print_line()
        print_table(
            "on the same answers",
            ("judge", "and", "answers", "first minus second [90 %]", "correlation", "within 0.1"),
            [
                (a.first, a.second, f"{a.shared:,}", _estimate(a.difference), number(a.correlation, 2), share(a.close))
                for a in report.agreements
            ],
            figures=range(2, 6),
        )


def _row(judge: "Measured") -> tuple[str, ...]:
    moved = "–" if judge.moved is None else f"{_estimate(judge.moved.difference)}{' !' if judge.moved.sure else ''}"
    known = judge.calibration
    if judge.trusted:
        counts = "trusted"
    elif known is None:
        counts = "not compared yet"
    elif known.shared < 1:
        counts = f"{known.offset:+.3f}, from the same models and tasks"
    else:
        counts = f"{known.offset:+.3f} {known.slope:+.2f} × score, noise {known.noise_sd:.3f}, {known.shared:.0f} shared"
    return (
        judge.judge,
        f"{judge.scores:,}",
        number(judge.mean),
        number(judge.sd),
        money(judge.cost_usd),
        share(judge.mean_sampling),
        "–" if judge.flips is None else f"{judge.flips:.1%} of {judge.comparisons:,}",
        moved,
        counts,
    )


def _estimate(value: "Estimate") -> str:
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
