"""Counts of the log: the same from every store, each position once, and what happened later at the time of its decision."""

import random
import threading
from collections import defaultdict
from typing import Any

import pytest

from router.domain.events import Attempt, CostChange, CostSource, Status
from router.domain.tallies import DAY_S, FINE_S, HOUR_S, SPANS, Counted, Sums
from router.ports import Store

AT = 1_700_000_000.0


def lines(store: Store, span_s: int = DAY_S, by: Any = "task_type", task_type: str | None = None) -> dict[Any, Sums]:
    found = store.tallies(span_s, 0.0, by, task_type)
    return {(line.start if by == "time" else line.task_type, line.model): line.sums for line in found}


def test_an_empty_log_counts_to_nothing(store):
    assert store.count_on(100) == 0
    assert store.counted() == Counted(0, None, None)
    assert store.tallies(DAY_S, 0.0, "time") == store.judged() == []
    assert store.decided_by(AT) == 0


def test_a_decision_and_what_became_of_it_counts_in_every_span(store, make):
    served = make.outcome("d1", model="a/one", cost_usd=0.25, latency_s=2.0)
    store.commit([make.decision("d1", at=AT + 1), served, make.feedback("f1", "d1", 0.75)])
    assert store.count_on(100) == 3
    for span in SPANS:
        start = int(AT + 1) // span * span
        assert lines(store, span, "time") == {
            (start, "b/two"): Sums(decisions=1),  # the one that was chosen
            (start, "a/one"): Sums(answered=1, cost_usd=0.25, costed=1, latency_s=2.0, timed=1, score=0.75, weight=1.0),  # that served
        }
    assert store.counted() == Counted(3, int(AT) // DAY_S * DAY_S, int(AT + 1) // FINE_S * FINE_S)


def test_what_was_imported_counts_for_its_judge_alone(store, make):
    theirs = make.decision("imported_1", policy="imported", forced=True)
    costly = make.outcome("imported_1", cost_usd=None, latency_s=2.0, cost_source=None)
    store.commit([theirs, costly, make.feedback("f1", "imported_1", 0.75), make.decision("d1")])
    store.commit([CostChange("imported_1", 0.5, AT)])
    assert store.count_on(100) == 5
    assert lines(store) == {("code_generation", "b/two"): Sums(decisions=1)}
    assert [(judged.scores, judged.total) for judged in store.judged()] == [(1, 0.75)]


def test_failures_and_fallbacks_are_told_apart(store, make):
    for i, status in enumerate((Status.ERROR, Status.TIMEOUT, Status.CANCELLED, Status.REJECTED)):
        store.commit([make.decision(f"d{i}", fallback=i == 0), make.outcome(f"d{i}", status=status, cost_usd=None, latency_s=9.0)])
    store.count_on(100)
    assert lines(store) == {("code_generation", "b/two"): Sums(decisions=4, fallbacks=1, failed=2)}


def test_what_attempts_cost_before_the_last_one_counts_for_their_models(store, make):
    cut = Attempt("d1", 1, "b/two", Status.ERROR, AT, last=False, error="ProviderDown", output_tokens=40, cost_usd=0.5, estimated=True)
    unknown = Attempt("d1", 2, "c/three", Status.TIMEOUT, AT, forced=True, last=False, error="ProviderTimeout")
    whole = Attempt("d1", 3, "a/one", Status.OK, AT, forced=True, cost_usd=0.25)
    store.commit([make.decision("d1"), cut, unknown, whole, make.outcome("d1", model="a/one", cost_usd=0.25, latency_s=2.0)])
    store.commit([make.decision("d2"), make.outcome("d2", status=Status.ERROR, cost_usd=0.125, latency_s=1.0)])
    assert store.count_on(3) == 3
    assert store.count_on(100) == 7
    assert lines(store) == {
        ("code_generation", "b/two"): Sums(decisions=2, failed=1, cost_usd=0.625, costed=1),
        ("code_generation", "a/one"): Sums(answered=1, cost_usd=0.25, costed=1, latency_s=2.0, timed=1),
    }


def test_a_corrected_score_replaces_and_a_retracted_one_leaves_nothing(store, make):
    store.commit([make.decision(), make.feedback("f1", score=0.25), make.feedback("f2", judge="tests", score=1.0, weight=0.5)])
    store.count_on(100)
    (sums,) = lines(store).values()
    assert (sums.score, sums.weight, sums.mean_score) == (0.75, 1.5, 0.5)
    assert [(j.judge, j.scores, j.total, j.squares) for j in store.judged()] == [("human", 1, 0.25, 0.0625), ("tests", 1, 1.0, 1.0)]
    store.commit([make.change("f1", 0.5)])
    store.count_on(100)
    (sums,) = lines(store).values()
    assert (sums.score, sums.weight) == (1.0, 1.5)
    store.commit([make.change("f1", None), make.change("f2", None)])
    store.count_on(100)
    (sums,) = lines(store).values()
    assert sums.mean_score is None
    assert store.judged() == []


def test_a_corrected_cost_replaces_the_one_before(store, make):
    outcome = make.outcome(cost_usd=1.0, cost_source=CostSource.COMPUTED)
    store.commit([make.decision(), outcome, CostChange("d1", 0.25, AT), CostChange("d1", None, AT)])
    store.count_on(3)
    (sums,) = lines(store).values()
    assert (sums.cost_usd, sums.costed) == (0.25, 1)
    store.count_on(100)
    (sums,) = lines(store).values()
    assert (sums.cost_usd, sums.costed, sums.mean_cost_usd) == (0.0, 0, None)


def test_the_order_of_counting_does_not_matter(store, make):
    """In pieces of any size, the sums are those of one pass; by time and by task type they are the same in all."""
    rng = random.Random(3)
    truth: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for i in range(200):
        task_type, model, score = rng.choice("xyz"), rng.choice(("a/one", "b/two")), rng.randrange(5) / 4
        store.commit([make.decision(f"d{i}", at=AT + i * 60, task_type=task_type, model=model), make.outcome(f"d{i}", cost_usd=0.5)])
        truth[task_type, model][0] += 1
        truth[task_type, model][1] += 0.5
        if i % 3 == 0:
            store.commit([make.feedback(f"f{i}", f"d{i}", score)])
            truth[task_type, model][2] += score
        if i % 7 == 0:
            store.count_on(rng.randrange(1, 9))
    while store.count_on(13) < store.last_seq():
        pass
    by_type = lines(store)
    assert {place: [s.decisions, s.cost_usd, s.score] for place, s in by_type.items()} == truth
    for span in (HOUR_S, DAY_S):
        by_time = lines(store, span, "time").values()
        assert sum(s.decisions for s in by_time) == 200
        assert sum(s.cost_usd for s in by_time) == 100.0
    one = lines(store, DAY_S, "time", "x").values()
    assert sum(s.decisions for s in one) == sum(s.decisions for (name, _), s in by_type.items() if name == "x")


def test_short_periods_are_kept_for_a_while_and_days_for_good(store, make):
    store.commit([make.decision("old", at=AT)])
    store.count_on(100)
    store.commit([make.decision("new", at=AT + 100 * DAY_S), make.outcome("old", cost_usd=0.5)])
    store.count_on(100)
    assert [s.decisions for s in lines(store, FINE_S, "time").values()] == [1]
    assert [s.decisions for s in lines(store, HOUR_S, "time").values()] == [1]
    days = list(lines(store, DAY_S, "time").values())
    assert [(s.decisions, s.cost_usd) for s in days] == [(1, 0.5), (1, 0.0)]
    assert len(store.tallies(DAY_S, AT + 50 * DAY_S, "time")) == 1


def test_the_position_of_a_moment_is_found(store, make):
    for i in range(50):
        store.commit([make.decision(f"d{i}", at=AT + 10 * i), make.outcome(f"d{i}"), make.feedback(f"f{i}", f"d{i}")])
    assert store.decided_by(AT - 1) == 0
    assert [store.decided_by(AT + 10 * i + 5) for i in (0, 7, 49, 1000)] == [1, 22, 148, 148]
    assert store.decided_by(AT + 70) == 22


@pytest.mark.parametrize("workers", [4])
def test_several_processes_count_each_position_once(store, make, workers):
    store.commit([record for i in range(300) for record in (make.decision(f"d{i}"), make.outcome(f"d{i}", cost_usd=1.0))])

    def count() -> None:
        while store.count_on(7) < 600:
            pass

    threads = [threading.Thread(target=count) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (sums,) = lines(store).values()
    assert (sums.decisions, sums.cost_usd) == (300, 300.0)
