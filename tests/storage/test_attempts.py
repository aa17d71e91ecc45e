"""Provider calls in the log: kept whole, in order, once, and evidence only where no outcome tells the same."""

from router.domain.events import Attempt, AttemptEvent, Committed, Status
from router.domain.evidence import evidence
from router.errors import DecisionNotFound

FAILED = Attempt("d1", 1, "a/one", Status.ERROR, 5.5, last=False, error="ProviderDown", http_status=503, latency_s=0.25)
SERVED = Attempt("d1", 2, "b/two", Status.OK, 6.5, True, True, None, None, 1.25, 0.5, 10, 20, 3, 4, 0.001, True, "req-1")


def test_attempts_are_kept_whole_and_in_order(store, make):
    results = store.commit([make.decision("d1"), FAILED, SERVED, make.outcome("d1")])
    assert [result.seq for result in results] == [1, 2, 3, 4]
    assert store.decision("d1").attempts == (FAILED, SERVED)
    assert store.read_log(1, 2) == [AttemptEvent(2, 1, FAILED), AttemptEvent(3, 1, SERVED)]
    assert store.counts()["attempts"] == 2


def test_a_number_is_taken_once(store, make):
    store.commit([make.decision("d1"), FAILED])
    assert store.commit([FAILED]) == [Committed(2, "d1", repeated=True)]
    (missing,) = store.commit([Attempt("nobody", 1, "a/one", Status.OK, 1.0)])
    assert isinstance(missing, DecisionNotFound)
    assert store.last_seq() == 2


def test_only_a_failure_that_no_outcome_tells_is_evidence(store, make):
    left = Attempt("d1", 3, "b/two", Status.CANCELLED, 7.0, last=False)
    store.commit([make.decision("d1"), FAILED, SERVED, left])
    events, _ = store.read_evidence(0, 100)
    learned = [(item.model, item.failed) for event in events for item in evidence(event)]
    assert learned == [("a/one", True)]
