"""Stretches of the log read by column: only what the fold needs, and no object for a row."""

from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, Connection, Select, bindparam, false, or_, select

from learning.arrays import FloatArray, IntArray
from learning.features import N_FEATURES, SCHEMA_VERSION
from learning.foretold import foretold_of
from learning.voices import Score, Voice
from router.domain.events import ArrivalEvent, AttemptEvent, Evidence, Status
from router.domain.evidence import QUALITY_METRIC
from router.domain.set_aside import Omitted
from router.domain.stretch import Gathered, Stretch
from router.storage import codec
from router.storage.cost_rows import COST_EVENTS, read_cost_event
from router.storage.keyed import Keyed, matching
from router.storage.regime_rows import REGIME_EVENTS, read_regime_event
from router.storage.tables import arrivals, attempts, decisions, feedback, outcomes

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")
_BYTES = 4 * N_FEATURES
"""Of the features of a decision; behind them stands what it made of a text."""
_AT_ONCE = 2_000
"""Rows: few enough for all to be gone before the garbage collector counts them among what stays."""
_ENDS = frozenset(status.value for status in Status)
"""How a call may end."""
_DENSE = 4
"""Decisions are read in one go where at least every so-manyeth record of a span is one that is wanted."""

_told = (decisions.c.seq, decisions.c.model, decisions.c.task_type, decisions.c.features_schema, decisions.c.features)
DECIDED = select(*_told).where(decisions.c.seq >= _first, decisions.c.seq < _end)
DECIDED_AT = Keyed(select(*_told), decisions.c.seq)
ARRIVALS = select(arrivals).where(arrivals.c.seq >= _first, arrivals.c.seq < _end)
FAILED = select(attempts).where(attempts.c.seq >= _first, attempts.c.seq < _end, attempts.c.last == false())
"""The last attempt is told by the outcome."""
OUTCOMES = select(
    outcomes.c.seq,
    outcomes.c.decision_seq,
    outcomes.c.status,
    outcomes.c.model,
    outcomes.c.output_tokens,
    outcomes.c.latency_s,
    outcomes.c.cost_usd,
).where(outcomes.c.seq >= _first, outcomes.c.seq < _end)
_quality = (feedback.c.seq >= _first, feedback.c.seq < _end, feedback.c.metric == QUALITY_METRIC)
SCORES = select(
    feedback.c.seq, feedback.c.decision_seq, feedback.c.model, feedback.c.judge, feedback.c.source, feedback.c.score, feedback.c.weight
).where(*_quality, feedback.c.others == "[]", feedback.c.before_score.is_(None), feedback.c.score.is_not(None), feedback.c.weight > 0)
REVISIONS = select(
    feedback.c.seq,
    feedback.c.decision_seq,
    feedback.c.model,
    feedback.c.judge,
    feedback.c.source,
    feedback.c.score,
    feedback.c.weight,
    feedback.c.before_score,
    feedback.c.before_weight,
    feedback.c.others,
).where(*_quality, or_(feedback.c.others != "[]", feedback.c.before_score.is_not(None), feedback.c.score.is_(None), feedback.c.weight <= 0))


def read_stretch(connection: Connection, first: int, end: int, trusted: Collection[str], omitted: Omitted) -> Stretch | None:
    """Positions ``first`` to before ``end``; None where features or an end were written in another way than today's."""
    span = {"first": first, "end": end}
    outcome, score, revised = (_columns(connection, query, span) for query in (OUTCOMES, SCORES, REVISIONS))
    costs: list[Any] = list(connection.execute(COST_EVENTS, span))
    if omitted:
        outcome, score, revised = (_without(columns, omitted) for columns in (outcome, score, revised))
        costs = [cost for cost in costs if not omitted(cost.seq, cost.decision_seq)]
    wanted = np.array([*outcome[1], *score[1], *revised[1]], dtype=np.int64)
    decided = _Decided(connection, wanted)
    if not decided.readable or not _ENDS.issuperset(outcome[2]) or any(cost.features_schema != SCHEMA_VERSION for cost in costs):
        return None
    gathered = Gathered(trusted, decided.task_type, decided.features)
    which = decided.place(np.array(outcome[1], dtype=np.int64))
    served = [model or decided.model[own] for model, own in zip(outcome[3], which.tolist(), strict=True)]
    seq, clock = _whole(outcome[:2])
    gathered.add_outcomes(seq, clock, which, outcome[2], served, outcome[4], outcome[5], outcome[6])
    which = decided.place(np.array(score[1], dtype=np.int64))
    voices = {pair: Voice(pair[0], pair[1] or None) for pair in set(zip(score[3], score[4], strict=True))}
    heard = [voices[pair] for pair in zip(score[3], score[4], strict=True)]
    value, weight = (np.array(column, dtype=np.float64) for column in score[5:])
    seq, clock = _whole(score[:2])
    read = {i: told for i, own in enumerate(which.tolist()) if (told := decided.foretold.get(own)) is not None} if decided.foretold else {}
    gathered.add_scores(seq, clock, which, score[2], heard, value, weight, read)
    for event in (*_others(connection, span, omitted), *map(read_cost_event, costs)):
        gathered.add(event)
    which = decided.place(np.array(revised[1], dtype=np.int64))
    for own, row in zip(which.tolist(), zip(*revised, strict=True), strict=True):
        before, after = _in_force(*row[3:])
        gathered.add_change(row[0], row[1], own, row[2], before, after, decided.foretold.get(own))
    return gathered.stretch()


def _in_force(
    judge: str, source: str, score: float | None, weight: float, before: float | None, before_weight: float, others: str
) -> tuple[list[Score], list[Score]]:
    """The scores of the quality of one answer before and after a revision, in the order in which the fold takes them."""
    rest = [Score(name, sent, told, w) for name, metric, told, w, sent in codec.read_others(others) if metric == QUALITY_METRIC]
    both = [*rest], [*rest]
    for scores, told, w in zip(both, (before, score), (before_weight, weight), strict=True):
        if told is not None:
            scores.append(Score(judge, source or None, told, w))
        scores.sort(key=attrgetter("judge"))
    return both


def _others(connection: Connection, span: dict[str, int], omitted: Omitted) -> Iterable[Evidence]:
    for row in connection.execute(FAILED, span):
        if omitted(row.seq, row.decision_seq):
            continue
        yield AttemptEvent(row.seq, row.decision_seq, codec.read_attempt(row, ""))
    for row in connection.execute(ARRIVALS, span):
        yield ArrivalEvent(row.seq, row.model_id)
    for row in connection.execute(REGIME_EVENTS, span):
        yield read_regime_event(row)


def _columns(connection: Connection, query: Select[Any], span: dict[str, int]) -> list[list[Any]]:
    """Columns of what a query finds, from the driver's own rows: SQLAlchemy's, made one by one, take as long as the database."""
    with connection.execute(query, span) as result:
        columns: list[list[Any]] = [[] for _ in query.selected_columns]
        cursor = result.cursor  # that of a query which returns rows is open
        while rows := cursor.fetchmany(_AT_ONCE):
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
    return columns


def _without(columns: list[list[Any]], omitted: Omitted) -> list[list[Any]]:
    """Columns without the rows that are left out; the first two are a row's position and its decision's."""
    kept = [not omitted(seq, decision_seq) for seq, decision_seq in zip(columns[0], columns[1], strict=True)]
    return [list(compress(column, kept)) for column in columns]


def _whole(columns: Iterable[Sequence[int]]) -> list[IntArray]:
    return [np.array(column, dtype=np.int64) for column in columns]


class _Decided:
    """Decisions that others refer to, by column, in the order of the log."""

    def __init__(self, connection: Connection, wanted: IntArray) -> None:
        seqs = np.unique(wanted)
        columns: list[list[Any]] = [[] for _ in _told]
        for part in _runs(seqs):
            first, end = int(part[0]), int(part[-1]) + 1
            dense = end - first <= _DENSE * len(part)
            if dense:
                found: Iterable[Any] = _columns(connection, DECIDED, {"first": first, "end": end})
            else:
                found = zip(*matching(connection, DECIDED_AT, part.tolist()), strict=True)
            for column, values in zip(columns, found, strict=True):
                column.extend(values)
        order = np.argsort(np.array(columns[0], dtype=np.int64))
        self._seq = np.array(columns[0], dtype=np.int64)[order]
        self._order = order
        self.model: list[str]
        self.task_type: list[str]
        self.raw: list[bytes]
        _, self.model, self.task_type, schemas, self.raw = columns
        self.readable = all(schema == SCHEMA_VERSION for schema in set(schemas)) and min(map(len, self.raw), default=_BYTES) >= _BYTES
        long = [i for i, raw in enumerate(self.raw) if len(raw) > _BYTES] if self.readable else []
        self.foretold = {i: told for i in long if (told := foretold_of(self.raw[i])) is not None}
        """What the decisions made of the texts that they read."""
        joined = b"".join([raw[:_BYTES] for raw in self.raw] if long else self.raw) if self.readable else b""
        self.features: FloatArray = np.frombuffer(joined, dtype="<f4").astype(np.float64).reshape(-1, N_FEATURES)

    def place(self, seq: IntArray) -> IntArray:
        """Which of them have these positions."""
        found: IntArray = self._order[np.searchsorted(self._seq, seq)]
        return found


def _runs(seqs: IntArray) -> list[IntArray]:
    """Positions that lie close together, in one piece each; all that do not, in one."""
    if not len(seqs):
        return []
    apart = np.flatnonzero(np.diff(seqs) > 50) + 1
    parts = np.split(seqs, apart)
    dense = [part for part in parts if len(part) >= 20]
    rest = [part for part in parts if len(part) < 20]
    return [*dense, *([np.concatenate(rest)] if rest else [])]
