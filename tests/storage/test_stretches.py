"""Much of the log folded at once, read by column, leaves the learner that the fold of its events one by one leaves."""

import random
from collections.abc import Iterator

import pytest

from learning import state
from learning.errors import IncompatibleState
from learning.features import encode, to_bytes
from learning.foretold import Foretold, code_of
from learning.learner import Learner
from learning.projection import hashed
from router.domain import refold
from router.domain.catalog import load_shipped
from router.domain.events import Attempt, CostChange, LogEvent, Regime, Snapshot, Status, Write
from router.domain.evidence import fold
from router.domain.refold import Refold, fold_on
from router.domain.set_aside import SetAside, kind_of
from router.ports import Store
from tests.learning.test_state import identical
from tests.storage.conftest import Records

HALF_LIFE = 900.0
TRUSTED = ("human",)
MODELS = load_shipped().models[:5]


def history(seed: int, decisions: int, judges: int) -> Iterator[list[Write]]:
    """Groups of writes: every kind of record, late, corrected and taken back, with models that join and a change half-way."""
    rng = random.Random(seed)
    yield [Regime("c1", "p1", {}, MODELS[:3], 1.0)]
    late: list[Write] = []
    for n in range(decisions):
        model, name = MODELS[rng.randrange(3 + (n > decisions // 2))].id, f"d{n}"
        worse = n > decisions // 2 and model == MODELS[0].id
        features = to_bytes(encode(rng.randrange(9, 90_000)))
        if rng.random() < 0.5:
            text = hashed(" ".join(rng.choices(["sort", "prove", "rhyme", "list", "sum"], k=6)))
            features += Foretold(text, rng.random(), rng.gauss(0, 0.05), rng.gauss(0, 0.05), code_of(model)).to_bytes()
        group: list[Write] = [
            Records.decision(name, model=model, task_type=rng.choice(["code", "prose"]), features_schema=1, features=features)
        ]
        if rng.random() < 0.1:
            group.append(Attempt(name, 1, model, rng.choice([Status.TIMEOUT, Status.CANCELLED]), 1.0, last=False))
        status = rng.choice([Status.OK] * 9 + [Status.ERROR, Status.CANCELLED])
        served = rng.choice([None, None, MODELS[1].id])
        group.append(
            Records.outcome(
                name, status=status, model=served, latency_s=rng.choice([None, 0.0, rng.uniform(0.5, 9.0)]),
                output_tokens=rng.choice([None, 0, rng.randrange(1, 900)]), cost_usd=rng.choice([None, 0.0, 0.002]),
            )
        )  # fmt: skip
        for judge in rng.sample(["llm", "human", "thumbs"][:judges], rng.randint(0, judges)):
            score = float(rng.random() < (0.2 if worse else 0.9))
            given = Records.feedback(
                f"{name}-{judge}", name, score, judge=judge, metric=rng.choice(["quality"] * 5 + ["style"]),
                weight=rng.choice([1.0, 0.5]), source=rng.choice([None, "key-1"]),
            )  # fmt: skip
            (late if rng.random() < 0.2 else group).append(given)
            if rng.random() < 0.1:
                late.append(Records.change(given.id, rng.choice([None, 0.25])))
        if rng.random() < 0.1:
            late.append(CostChange(name, rng.choice([None, 0.004]), 5.0))
        yield group
        if len(late) > 20 or n == decisions - 1:
            yield late
            late = []
        if n == decisions // 3:
            yield [Regime("c2", "p1", {}, MODELS[:4], 2.0)]


def fill(store: Store, seed: int, decisions: int, judges: int) -> None:
    for n, group in enumerate(history(seed, decisions, judges)):
        store.commit(group)
        if n == decisions // 4:
            store.announce([model.id for model in MODELS[:3]], 1.0)
        if n == decisions // 2:
            store.announce([model.id for model in MODELS], 2.0)


def one_by_one(store: Store, upto: int) -> Learner:
    learner = Learner(HALF_LIFE, trusted=TRUSTED)
    for event in store.read_log(0, upto):
        fold(learner, event)
    learner.advance(upto)
    return learner


def same(learner: Learner, other: Learner) -> None:
    assert learner.digest() == other.digest()
    assert state.save(learner) == state.save(other)
    identical(learner.posterior(), other.posterior())


@pytest.mark.parametrize("judges", [1, 3])
def test_stretches_of_any_length_join_to_the_same_learner(store: Store, judges: int) -> None:
    fill(store, judges, 250, judges)
    last, rng = store.last_seq(), random.Random(judges)
    learner = Learner(HALF_LIFE, trusted=TRUSTED)
    while learner.seq < last:
        fold_on(store, learner, learner.seq + rng.choice([1, 7, 60, 500]), TRUSTED)
    assert learner.seq == last
    assert store.read_stretch(last, last + 10, TRUSTED)[1] == last
    assert [text.total > 20 for text in learner.texts.values()] == [True]
    same(one_by_one(store, last), learner)


def test_a_state_of_the_past_is_the_same_reached_from_far_and_step_by_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 7, 150, 2)
    monkeypatch.setattr(refold, "FAR", 40)
    last = store.last_seq()
    past = Refold(store, HALF_LIFE, TRUSTED)
    for seq in (30, 31, 90, 92, 300, last, last - 5, last + 100):
        same(one_by_one(store, min(seq, last)), past.at(seq))


def test_what_is_set_aside_is_left_out_however_the_log_is_read(store: Store) -> None:
    """With what came later about the same decisions; the log and its counts keep it."""
    fill(store, 5, 200, 2)
    last, counts = store.last_seq(), store.counts()
    told = [event for event in store.read_log(0, last) if kind_of(event) is not None]  # type: ignore[arg-type]
    broken = random.Random(5).sample(told, 12)
    omitted = {(event.seq, event.decision_seq) for event in broken}  # type: ignore[union-attr]

    def left_out(event: LogEvent) -> bool:
        return any(event.seq >= seq and getattr(event, "decision_seq", 0) == decision for seq, decision in omitted)

    gone = [event.seq for event in told if left_out(event)]
    assert len(gone) > len(broken), "some have something behind them"
    for event in (*broken, broken[0]):
        store.set_aside(SetAside(event.seq, event.decision_seq, str(kind_of(event)), "ValueError", 1.0))  # type: ignore[arg-type,union-attr]
    assert [record.seq for record in store.all_set_aside()] == sorted(event.seq for event in broken)
    expected = Learner(HALF_LIFE, trusted=TRUSTED)
    for event in store.read_log(0, last):
        if not left_out(event):
            fold(expected, event)
    expected.advance(last)
    at_once = Learner(HALF_LIFE, trusted=TRUSTED)
    fold_on(store, at_once, last, TRUSTED)
    same(expected, at_once)
    singly = Learner(HALF_LIFE, trusted=TRUSTED)
    for event in store.read_evidence(0, last)[0]:
        fold(singly, event)
    singly.advance(last)
    same(expected, singly)
    assert store.counts() == counts
    for seq in (1, last):
        store.save_snapshot(Snapshot(seq, 1, "digest", b"state", 1.0))
    assert (store.clear_set_aside(), store.clear_set_aside(), store.all_set_aside()) == (12, 0, [])
    kept = store.latest_snapshot(1)
    assert kept is not None
    assert kept.seq == 1, "one that was made without them is no cache of the log"
    fold_on(store, whole := Learner(HALF_LIFE, trusted=TRUSTED), last, TRUSTED)
    same(one_by_one(store, last), whole)


def test_features_of_another_schema_are_refused_where_they_would_be_folded(store: Store, make: type[Records]) -> None:
    store.commit([make.decision(features=b"\0" * 8, features_schema=2), make.outcome(status=Status.ERROR)])
    fold_on(store, learner := Learner(HALF_LIFE), 2, ())
    assert learner.statistics.calls.sum() == pytest.approx(1.0, rel=0.01)
    store.commit([make.feedback(metric="quality")])
    with pytest.raises(IncompatibleState, match="schema 2"):
        fold_on(store, learner, 3, ())
