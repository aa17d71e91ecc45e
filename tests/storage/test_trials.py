"""What the holdback experiment reads of decisions is what the log says of them, on every store."""

from typing import Any

from router.domain.events import Attempt, CostChange, Status
from router.domain.lift import Trial
from router.domain.recall import ended, result_of
from router.ports import Store


def test_a_trial_tells_of_a_decision_what_its_record_tells(store: Store, make: Any) -> None:
    for number in range(6):
        request = {"weights": [1.0, 0.3, 0.1], "references": [0.01, 10.0], "held_back": 0.2, "arm": "routed" if number % 2 else "baseline"}
        decision_id = f"d{number}"
        store.commit([
            make.decision(decision_id, request=request if number < 5 else {"note": '"arm":'}, episode_id="e1" if number < 2 else None),
            Attempt(decision_id, 1, "a/one", Status.ERROR, 1.0, forced=False, last=False, cost_usd=0.25),
            Attempt(decision_id, 2, "b/two", Status.OK, 1.5, forced=True, last=True),
        ])  # fmt: skip
    store.commit([
        make.outcome("d0"), make.outcome("d1", status=Status.ERROR, latency_s=None), make.outcome("d2", cost_usd=None),
        make.outcome("d3"), make.outcome("d5"),
    ])  # fmt: skip
    store.commit([make.feedback("f0", "d0", metric="quality"), make.feedback("f3", "d3", metric="quality", sampling=0.5)])
    store.commit([make.change("f0", 0.5), CostChange("d3", 2.0, 0.5)])
    trials = store.trials(limit=10)
    records = store.decisions(limit=10)
    assert len(trials) == len(records) == 6
    for trial, record in zip(trials, records, strict=True):
        decision = record.decision
        assert (trial.seq, trial.decision_id, trial.at, trial.episode_id) == (record.seq, decision.id, decision.at, decision.episode_id)
        if decision.id == "d5":
            assert trial == Trial(record.seq, decision.id, decision.at, None, {})
        else:
            assert trial.request == decision.request
            assert ended(trial.status, trial.cost_usd, trial.latency_s, trial.feedback, trial.attempts) == result_of(record)
    of = {trial.decision_id: trial for trial in trials}
    assert (of["d3"].cost_usd, of["d4"].status, result_of(records[5]).quality) == (2.0, None, 0.5)
    assert [trial.decision_id for trial in store.trials(before_seq=of["d3"].seq, limit=2)] == ["d2", "d1"]
    assert store.trials(limit=10, task_type="summarization") == []
    assert len(store.trials(limit=10, task_type="code_generation")) == 6
