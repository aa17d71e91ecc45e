"""Tallies as rows: the log is grouped by the database once, and the groups are added to what was counted before."""

from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Connection, bindparam, case, delete, false, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from router.domain.decisions import IMPORTED
from router.domain.events import Status
from router.domain.tallies import DAY_S, FINE_S, KEPT_S, SUMMED, Additions, By, Counted, Judged, Sums, Tally
from router.storage.tables import attempts, cost_changes, decisions, feedback, judge_tallies, outcomes, tallied, tallies

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")


class _Fine(FunctionElement[int]):
    """The number of the fine period around a Unix time."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Fine)
def _floored(element: _Fine, compiler: Any, **options: Any) -> str:
    return f"CAST(FLOOR({compiler.process(element.clauses, **options)} / {FINE_S}) AS BIGINT)"


@compiles(_Fine, "sqlite")
def _truncated(element: _Fine, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} / {FINE_S} AS INTEGER)"  # FLOOR is not in every build of it


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _given(value: ColumnElement[Any], otherwise: float = 0.0) -> ColumnElement[Any]:
    return func.coalesce(value, otherwise)


def _change(after: ColumnElement[Any], before: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.sum(_given(after) - _given(before))


def _appeared(after: ColumnElement[Any], before: ColumnElement[Any]) -> ColumnElement[int]:
    return _number(after.is_not(None)) - _number(before.is_not(None))


_ours = decisions.c.policy != IMPORTED
_fine = _Fine(decisions.c.at).label("fine")
_served = func.coalesce(outcomes.c.model, decisions.c.model).label("served")
_answered = outcomes.c.status == Status.OK.value
_took = case((_answered, outcomes.c.latency_s))

_DECIDED = (
    select(
        _fine,
        decisions.c.task_type,
        decisions.c.model.label("served"),
        func.count().label("decisions"),
        _number(decisions.c.fallback).label("fallbacks"),
    )
    .where(decisions.c.seq >= _first, decisions.c.seq < _end, _ours)
    .group_by("fine", decisions.c.task_type, decisions.c.model)
)
_ENDED = (
    select(
        _fine,
        decisions.c.task_type,
        _served,
        _number(_answered).label("answered"),
        _number(outcomes.c.status.in_([Status.ERROR.value, Status.TIMEOUT.value])).label("failed"),
        _given(func.sum(outcomes.c.cost_usd)).label("cost_usd"),
        func.count(outcomes.c.cost_usd).label("costed"),
        _given(func.sum(_took)).label("latency_s"),
        func.count(_took).label("timed"),
    )
    .join_from(outcomes, decisions, outcomes.c.decision_seq == decisions.c.seq)
    .where(outcomes.c.seq >= _first, outcomes.c.seq < _end, _ours)
    .group_by("fine", decisions.c.task_type, "served")
)
_TRIED = (
    select(_fine, decisions.c.task_type, attempts.c.model.label("served"), func.sum(attempts.c.cost_usd).label("cost_usd"))
    .join_from(attempts, decisions, attempts.c.decision_seq == decisions.c.seq)
    .where(attempts.c.seq >= _first, attempts.c.seq < _end, attempts.c.last == false(), attempts.c.cost_usd.is_not(None), _ours)
    .group_by("fine", decisions.c.task_type, attempts.c.model)
)
_RECOSTED = (
    select(
        _fine,
        decisions.c.task_type,
        _served,
        _change(cost_changes.c.cost_usd, cost_changes.c.before_usd).label("cost_usd"),
        _appeared(cost_changes.c.cost_usd, cost_changes.c.before_usd).label("costed"),
    )
    .join_from(cost_changes, decisions, cost_changes.c.decision_seq == decisions.c.seq)
    .join(outcomes, outcomes.c.decision_seq == cost_changes.c.decision_seq)
    .where(cost_changes.c.seq >= _first, cost_changes.c.seq < _end, _ours)
    .group_by("fine", decisions.c.task_type, "served")
)
_weight = case((feedback.c.score.is_not(None), feedback.c.weight))
_SCORED = (
    select(
        _fine,
        decisions.c.task_type,
        feedback.c.model.label("served"),
        _change(feedback.c.score * feedback.c.weight, feedback.c.before_score * feedback.c.before_weight).label("score"),
        _change(_weight, feedback.c.before_weight).label("weight"),
    )
    .join_from(feedback, decisions, feedback.c.decision_seq == decisions.c.seq)
    .where(feedback.c.seq >= _first, feedback.c.seq < _end, _ours)
    .group_by("fine", decisions.c.task_type, feedback.c.model)
)
_JUDGED = (
    select(
        feedback.c.judge,
        feedback.c.metric,
        feedback.c.model,
        _appeared(feedback.c.score, feedback.c.before_score).label("scores"),
        _change(feedback.c.score, feedback.c.before_score).label("total"),
        _change(feedback.c.score * feedback.c.score, feedback.c.before_score * feedback.c.before_score).label("squares"),
    )
    .where(feedback.c.seq >= _first, feedback.c.seq < _end)
    .group_by(feedback.c.judge, feedback.c.metric, feedback.c.model)
)


def grouped(connection: Connection, first: int, end: int) -> Additions:
    """What the log's positions from ``first`` to before ``end`` add."""
    span, found = {"first": first, "end": end}, Additions()
    for query in (_DECIDED, _TRIED, _ENDED, _RECOSTED, _SCORED):
        for row in connection.execute(query, span):
            named = row._mapping
            sums = Sums(**{name: named[name] for name in SUMMED if name in named})
            found.add((row.fine, row.task_type, row.served), sums)
    for row in connection.execute(_JUDGED, span):
        found.judge((row.judge, row.metric, row.model), row.scores, row.total, row.squares)
    return found


def counted_seq(connection: Connection) -> int:
    """The log position up to which the log has been counted."""
    return connection.execute(select(func.max(tallied.c.seq))).scalar() or 0


def add(connection: Connection, before: int, upto: int, found: Additions) -> bool:
    """Add what was found between ``before`` and ``upto``; False, and nothing, where another process did so meanwhile."""
    if counted_seq(connection) != before:
        return False
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    newest = max(found.newest, connection.execute(select(func.max(tallies.c.start)).where(tallies.c.span_s == FINE_S)).scalar() or 0)
    rows = [
        {"span_s": span, "start": start, "task_type": task_type, "model": model} | {name: getattr(sums, name) for name in SUMMED}
        for span, start, task_type, model, sums in found.periods(newest)
    ]
    if rows:
        statement: Any = dialect.insert(tallies)
        more = {name: tallies.c[name] + statement.excluded[name] for name in SUMMED}
        connection.execute(statement.on_conflict_do_update(index_elements=list(tallies.primary_key), set_=more), rows)
    judged = [
        {"judge": judge, "metric": metric, "model": model, "scores": n, "total": total, "squares": squares}
        for (judge, metric, model), (n, total, squares) in found.judged.items()
    ]
    if judged:
        statement = dialect.insert(judge_tallies)
        more = {name: judge_tallies.c[name] + statement.excluded[name] for name in ("scores", "total", "squares")}
        connection.execute(statement.on_conflict_do_update(index_elements=list(judge_tallies.primary_key), set_=more), judged)
    for span, kept_s in KEPT_S.items():
        connection.execute(delete(tallies).where(tallies.c.span_s == span, tallies.c.start < newest - kept_s))
    statement = dialect.insert(tallied)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[tallied.c.id], set_={"seq": statement.excluded.seq}), {"id": 1, "seq": upto}
    )
    return True


def read(connection: Connection, span_s: int, since: float, by: By, task_type: str | None) -> list[Tally]:
    """Lines of the periods that end after ``since``."""
    column = tallies.c.start if by == "time" else tallies.c.task_type
    query = (
        select(column.label("place"), tallies.c.model, *[func.sum(tallies.c[name]).label(name) for name in SUMMED])
        .where(tallies.c.span_s == span_s, tallies.c.start > since - span_s)
        .group_by(column, tallies.c.model)
        .order_by(column, tallies.c.model)
    )
    if task_type is not None:
        query = query.where(tallies.c.task_type == task_type)
    return [
        Tally(
            row.place if by == "time" else None,
            row.place if by == "task_type" else task_type,
            row.model,
            Sums(*(_plain(row._mapping[name]) for name in SUMMED)),
        )
        for row in connection.execute(query)
    ]


def _plain(value: Any) -> Any:
    return value if isinstance(value, float) else int(value)  # a sum of BIGINT is a NUMERIC in PostgreSQL


def read_judged(connection: Connection) -> list[Judged]:
    """Every judge's lines that have a score left, by judge, metric and model."""
    table = judge_tallies.c
    query = select(judge_tallies).where(table.scores > 0).order_by(table.judge, table.metric, table.model)
    return [Judged(row.judge, row.metric, row.model, row.scores, row.total, row.squares) for row in connection.execute(query)]


def read_counted(connection: Connection) -> Counted:
    """How far the log has been counted."""
    first = connection.execute(select(func.min(tallies.c.start)).where(tallies.c.span_s == DAY_S)).scalar()
    last = connection.execute(select(func.max(tallies.c.start)).where(tallies.c.span_s == FINE_S)).scalar()
    return Counted(counted_seq(connection), first, last)


def decided_by(connection: Connection, at: float) -> int:
    """The position of the latest decision taken by Unix time ``at``; 0 where there is none.

    By bisection over positions, whose order is that of time but for the moments between a decision and its commit.
    """
    low, high = 0, connection.execute(select(func.max(decisions.c.seq))).scalar() or 0
    found = 0
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(
            select(decisions.c.seq, decisions.c.at).where(decisions.c.seq <= middle).order_by(decisions.c.seq.desc()).limit(1)
        ).first()
        if row is None or row.at <= at:
            low, found = middle, row.seq if row is not None else found
        else:
            high = row.seq - 1
    return found
