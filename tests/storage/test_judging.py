"""What judging cost and how an answer came to be judged stay with the score, through corrections, in every store."""

import pytest

from router.errors import RouterError


def test_cost_and_probability_are_kept_with_the_score_and_told_to_readers(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", cost_usd=0.002, sampling=0.05), make.change("f1", 0.5)])
    assert [(f["cost_usd"], f["sampling"], f["score"]) for f in store.decision("d1").feedback] == [(0.002, 0.05, 0.75), (0.002, 0.05, 0.5)]
    events, _ = store.read_evidence(0, 100)
    assert [(event.cost_usd, event.sampling) for event in events] == [(0.002, 0.05)] * 2


@pytest.mark.parametrize("changes", [{"sampling": 0.0}, {"sampling": 1.1}, {"cost_usd": -1.0}, {"cost_usd": float("inf")}])
def test_impossible_amounts_are_refused(store, make, changes):
    _, result = store.commit([make.decision("d1"), make.feedback("f1", **changes)])
    assert type(result) is RouterError
    assert store.counts()["feedback"] == 0


def test_what_was_spent_on_judging_is_summed_once_per_score(store, make):
    store.commit(
        [
            make.decision("d1"),
            make.feedback("f1", cost_usd=0.002, at=100.0),
            make.feedback("f2", judge="llm", cost_usd=0.003, at=200.0),
            make.feedback("f3", judge="user", at=200.0),
            make.change("f2", 0.5, at=300.0),
        ]
    )
    assert store.judging_usd(0.0) == pytest.approx(0.005)
    assert store.judging_usd(150.0) == pytest.approx(0.003)
    assert store.judging_usd(301.0) == 0.0
