"""``pointsman audit`` and ``pointsman history``: why a decision came out as it did, and how the preferences came to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import money, number, print_json, print_line, print_table, share
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.config import Settings
    from router.ports import Store

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def audit(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID")], database_url: DatabaseUrl = None, as_json: Json = False
) -> None:
    """Take a logged decision once more from the log: is it the same to the last bit, and what would have changed it?"""
    from router.recomputing import decide_again
    from router.services.audit import AuditService

    with opened(database_url) as (store, _):
        made = AuditService(store, decide_again).audit(decision_id)
    if as_json:
        print_json(made)
        return
    if made.exact is None:
        print_line(f"not recomputed: {made.why_not}")
        return
    found = "the same to the last bit" if made.exact else f"NOT the same: {', '.join(made.differences)} differ"
    print_line(f"{made.model} with propensity {made.propensity:.6f}: {found}")
    print_line(f"learned state at log position {made.policy_seq:,}, digest {made.state_digest}; draw {made.draw}")
    rows = []
    for one in sorted(made.models, key=lambda m: -m.weighed.utility):
        w, e = one.weighed, one.weighed.expected
        cost = None if e.cost_usd is None else e.cost_usd.mean
        latency = None if e.latency_s is None else e.latency_s.mean
        facts = (f"{e.quality.mean:.3f} [{e.quality.low:.2f}, {e.quality.high:.2f}]", money(cost), number(latency, 1), number(w.utility))
        rows.append((one.model, *facts, share(w.probability_best), f"{one.propensity:.4f}"))
    print_table("what was expected then", ("model", "quality", "$", "s", "utility", "best", "propensity"), rows, figures=range(1, 7))
    for other in made.alternatives:
        print_line(f"{other.model}: {other.flip}")


def history(
    task_type: Annotated[str, typer.Argument(metavar="TASK_TYPE")],
    points: Annotated[int, typer.Option(min=2, max=200, help="Positions of the log to look at.")] = 12,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """How the preferences on a task type moved over the log, and which evidence moved them."""
    from router.domain.tasks import Weights
    from router.services.history import HistoryService

    with opened(database_url) as (store, settings):
        weights = Weights(settings.weight_quality, settings.weight_cost, settings.weight_latency)
        made = HistoryService(store, weights).history(task_type, points)
    if as_json:
        print_json(made)
        return
    rows = []
    for point in made.points:
        top = point.preferences.models[0] if point.preferences.models else None
        quality = "" if top is None else f"{top.quality.mean:.3f} [{top.quality.low:.2f}, {top.quality.high:.2f}]"
        best = "" if top is None else share(top.probability_best)
        known = point.preferences
        rows.append((f"{point.seq:,}", known.recommended or "–", quality, best, str(known.status), f"{known.n}"))
    print_table(f"{task_type}: the preferred model", ("log", "model", "quality", "best", "status", "scores"), rows, figures=(0, 2, 3, 5))
    print_line()
    for turn in made.turns:
        said = "; ".join(f"{s.model} {'withdrawn' if s.score is None else format(s.score, '.2f')} by {s.judge}" for s in turn.scores[-4:])
        where = f"between {turn.from_seq:,} and {turn.to_seq:,}"
        print_line(f"{where}: {turn.before} gave way to {turn.after} ({said or 'no scores of either'})")
    largest = sorted(made.moves, key=lambda m: -abs(m.after - m.before))[:8]
    moved = [(f"{m.from_seq:,}–{m.to_seq:,}", m.model, f"{m.before:.3f} → {m.after:.3f}", m.because) for m in largest]
    print_table("largest moves of expected quality", ("log", "model", "quality", "because"), moved)


@contextmanager
def opened(database_url: str | None) -> "Iterator[tuple[Store, Settings]]":
    """The log of the settings, to read.

    Raises ``StorageUnavailable`` where there is none of this release, ``ConfigurationInvalid``.
    """
    from router import config
    from router.storage import schema
    from router.storage.sql import SqlStore

    given: dict[str, Any] = {} if database_url is None else {"database_url": database_url}
    settings = config.load(**given)
    settings.require_disk("has no log")
    schema.require(settings.database_url)
    store = SqlStore(settings.database_url)
    try:
        yield store, settings
    finally:
        store.close()
