"""What every store promises, whatever it keeps the log in."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from router.domain.battery_runs import BatteryCell, BatteryRun, RunStatus
from router.domain.decisions import Decision
from router.domain.events import ArrivalEvent, Committed, DecisionEvent, FeedbackEvent, OutcomeEvent, Snapshot, Status
from router.domain.keys import ApiKey, Scope
from router.domain.models import Capability, Modality, Model, Price, SpeedFacts
from router.domain.overrides import Override
from router.errors import DecisionNotFound, FeedbackConflict, FeedbackNotFound, OutcomeConflict, RouterError
from router.ports import Store
from router.storage.sql import SqlStore

HUMAN = ("human", "overall")


def last_feedback(store: Store) -> FeedbackEvent:
    event = store.read_log(0, 1000)[-1]
    assert isinstance(event, FeedbackEvent)
    return event


# order and identity


def test_an_empty_log_reads_as_empty(store):
    assert store.last_seq() == 0
    assert store.read_log(0, 10) == []
    assert store.counts() == {"decisions": 0, "attempts": 0, "outcomes": 0, "cost_changes": 0, "feedback": 0}
    assert store.decision("d1") is None
    assert store.decisions() == []
    assert store.commit([]) == []
    store.check()


def test_all_kinds_share_one_counter_in_commit_order(store, make):
    first = store.commit([make.decision("d1"), make.outcome("d1"), make.feedback("f1"), make.decision("d2")])
    second = store.commit([make.change("f1", 0.5), make.outcome("d2")])
    assert first == [Committed(1, "d1"), Committed(2, "d1"), Committed(3, "f1"), Committed(4, "d2")]
    assert second == [Committed(5, "f1", revision=2), Committed(6, "d2")]
    assert store.last_seq() == 6
    assert [event.seq for event in store.read_log(0, 100)] == [1, 2, 3, 4, 5, 6]
    assert store.counts() == {"decisions": 2, "attempts": 0, "outcomes": 2, "cost_changes": 0, "feedback": 2}


def test_refused_writes_take_no_seq_and_stop_nobody(store, make):
    no_decision, no_feedback = (make.outcome("none"), make.feedback("f", "none")), make.change("none")
    results = store.commit([no_decision[0], make.decision("d1"), no_decision[1], no_feedback, make.decision("d2")])
    assert [type(r) for r in results] == [DecisionNotFound, Committed, DecisionNotFound, FeedbackNotFound, Committed]
    assert [r.seq for r in results if isinstance(r, Committed)] == [1, 2]
    for refused in (results[0], results[2], results[3]):
        assert refused.field
        assert refused.remedy
        assert "none" not in str(refused)


def test_a_record_may_not_come_before_its_decision(store, make):
    early, decided = store.commit([make.outcome("d1"), make.decision("d1")])
    assert isinstance(early, DecisionNotFound)
    assert decided == Committed(1, "d1")


def test_pages_of_the_log_join_without_gap_or_overlap(store, make):
    for i in range(10):
        store.commit([make.decision(f"d{i}"), make.outcome(f"d{i}"), make.feedback(f"f{i}", f"d{i}")])
    seen: list[int] = []
    while page := store.read_log(seen[-1] if seen else 0, 7):
        assert len(page) <= 7
        seen += [event.seq for event in page]
    assert seen == list(range(1, 31))
    assert store.read_log(30, 7) == []
    assert store.read_log(12, 0) == []


def test_evidence_is_the_log_without_its_decisions(store, make):
    for i in range(10):
        store.commit([make.decision(f"d{i}"), make.outcome(f"d{i}"), make.feedback(f"f{i}", f"d{i}")])
    evidence, upto = [], 0
    while upto < store.last_seq():
        page, upto = store.read_evidence(upto, 7)
        evidence += page
    assert evidence == [event for event in store.read_log(0, 100) if not isinstance(event, DecisionEvent)]
    assert store.read_evidence(30, 7) == ([], 30)


def test_a_large_group_is_one_commit(store, make):
    results = store.commit([make.decision(f"d{i}") for i in range(1500)] + [make.feedback(f"f{i}", f"d{i}") for i in range(1500)])
    assert [r.seq for r in results] == list(range(1, 3001))
    assert len(store.read_log(0, 5000)) == 3000


# decisions


def test_a_decision_comes_back_as_it_was_written(store, make):
    written = make.decision(episode_id="e1", fallback=True, forced=True, alternatives=(make.alternative(),))
    store.commit([written])
    kept = replace(written, alternatives=())
    (event,) = store.read_log(0, 1)
    assert event == DecisionEvent(1, kept)
    record = store.decision("d1")
    assert (record.seq, record.decision, record.outcome, record.feedback) == (1, kept, None, ())


def test_a_decision_without_the_optional_parts_comes_back_too(store, make):
    written = make.decision(expected=None, excluded=(), tags=(), request={}, features=b"", eligible=(), propensities=(), propensity=1.0)
    store.commit([written])
    assert store.decision("d1").decision == written


def test_propensities_are_exact(store, make):
    propensities = tuple(n / 2**24 for n in (1, 12_345_677, 2**24 - 12_345_678))
    store.commit([make.decision(propensities=propensities, propensity=propensities[1])])
    read = store.decision("d1").decision
    assert read.propensities == propensities
    assert read.propensity == propensities[1]


@pytest.mark.parametrize("changes", [{"propensity": 0.1}, {"propensities": (1 / 3, 1 / 3, 1 / 3)}])
def test_a_propensity_that_would_be_rounded_is_refused(store, make, changes):
    with pytest.raises(ValueError, match=r"multiple of 2\*\*-24"):
        store.commit([make.decision("ok"), make.decision(**changes)])
    assert store.last_seq() == 0


def test_the_same_decision_again_is_a_repeat(store, make):
    store.commit([make.decision("d0"), make.decision("d1")])
    again = store.commit([make.decision("d1", alternatives=(make.alternative(),)), make.decision("d2"), make.decision("d2")])
    assert again == [Committed(2, "d1", repeated=True), Committed(3, "d2"), Committed(3, "d2", repeated=True)]
    assert store.last_seq() == 3


def test_an_id_never_changes_its_decision(store, make):
    store.commit([make.decision("d1")])
    (refused,) = store.commit([make.decision("d1", model="a/one")])
    assert isinstance(refused, RouterError)
    assert refused.field == "id"
    assert store.decision("d1").decision.model == "b/two"


def test_a_stored_request_is_detached_from_the_callers(store, make):
    request = {"needs": ["json"]}
    store.commit([make.decision(request=request)])
    request["needs"].append("tools")
    assert store.decision("d1").decision.request == {"needs": ["json"]}


def test_decisions_are_listed_newest_first_and_paged(store, make):
    store.commit([make.decision(f"d{i}") for i in range(1, 8)])
    first = store.decisions(limit=3)
    assert [r.seq for r in first] == [7, 6, 5]
    assert [r.seq for r in store.decisions(before_seq=first[-1].seq, limit=3)] == [4, 3, 2]
    assert [r.decision.id for r in store.decisions(before_seq=2)] == ["d1"]
    assert store.decisions(before_seq=1) == []


def test_decisions_are_filtered(store, make):
    store.commit(
        [
            make.decision("d1", task_type="quick_qa", model="a/one", episode_id="e1"),
            make.decision("d2", task_type="quick_qa", model="b/two", episode_id="e2"),
            make.decision("d3", task_type="synthesis", model="a/one", episode_id="e1"),
            make.decision("d4", task_type="synthesis", model="b/two"),
        ]
    )

    def ids(**filters: str) -> list[str]:
        return [record.decision.id for record in store.decisions(**filters)]

    assert ids(task_type="quick_qa") == ["d2", "d1"]
    assert ids(model="a/one") == ["d3", "d1"]
    assert ids(episode_id="e1") == ["d3", "d1"]
    assert ids(task_type="synthesis", model="a/one", episode_id="e1") == ["d3"]
    assert ids(episode_id="e3") == []
    assert ids(task_type="") == []


def test_a_record_tells_the_outcome_and_every_revision(store, make):
    store.commit([make.decision("d1"), make.outcome("d1"), make.feedback("f1", score=0.75, weight=0.5)])
    store.commit([make.feedback("f2", judge="llm", score=0.25), make.change("f1", None, at=9.0)])
    human, llm = {"id": "f1", "judge": "human", "weight": 0.5}, {"id": "f2", "judge": "llm", "weight": 1.0}
    unpaid = {"metric": "overall", "cost_usd": None, "sampling": None}
    expected = (
        human | unpaid | {"seq": 3, "revision": 1, "score": 0.75, "at": 1_700_000_002.0},
        llm | unpaid | {"seq": 4, "revision": 1, "score": 0.25, "at": 1_700_000_002.0},
        human | unpaid | {"seq": 5, "revision": 2, "score": None, "at": 9.0},
    )
    for record in (store.decision("d1"), *store.decisions()):
        assert record.outcome == make.outcome("d1")
        assert record.feedback == expected


# outcomes


def test_an_outcome_is_read_with_what_the_fold_needs(store, make):
    store.commit([make.decision("d0"), make.decision("d1", task_type="synthesis"), make.outcome("d1", status=Status.TIMEOUT)])
    assert store.read_log(2, 1) == [
        OutcomeEvent(3, 2, "synthesis", "b/two", 3, b"\x00\x01\xfe\xff", make.outcome("d1", status=Status.TIMEOUT))
    ]


def test_the_model_that_served_wins_over_the_one_decided(store, make):
    store.commit([make.decision("d1"), make.outcome("d1", model="z/other")])
    (event,) = store.read_log(1, 1)
    assert event.model == "z/other"
    assert event.outcome.model == "z/other"


def test_an_outcome_with_nothing_measured_comes_back(store, make):
    bare = make.outcome(status=Status.CANCELLED, latency_s=None, ttft_s=None, input_tokens=None, output_tokens=None, cost_usd=None)
    store.commit([make.decision(), bare])
    assert store.decision("d1").outcome == bare


def test_the_same_outcome_later_is_a_repeat_and_another_a_conflict(store, make):
    store.commit([make.decision("d1"), make.outcome("d1")])
    later, other = store.commit([make.outcome("d1", at=2e9), make.outcome("d1", cost_usd=0.5)])
    assert later == Committed(2, "d1", repeated=True)
    assert isinstance(other, OutcomeConflict)
    assert store.decision("d1").outcome == make.outcome("d1")
    assert store.last_seq() == 2


def test_repeats_and_conflicts_are_seen_inside_a_group(store, make):
    results = store.commit([make.decision("d1"), make.outcome("d1"), make.outcome("d1", at=0.0), make.outcome("d1", status=Status.ERROR)])
    assert results[:3] == [Committed(1, "d1"), Committed(2, "d1"), Committed(2, "d1", repeated=True)]
    assert isinstance(results[3], OutcomeConflict)


# feedback


def test_a_first_score_is_only_in_after(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", score=0.75, weight=0.5, source="key-1", comment="fine")])
    assert last_feedback(store) == FeedbackEvent(
        seq=2,
        decision_seq=1,
        decision_id="d1",
        feedback_id="f1",
        revision=1,
        task_type="code_generation",
        model="b/two",
        features_schema=3,
        features=b"\x00\x01\xfe\xff",
        judge="human",
        metric="overall",
        before={},
        after={HUMAN: (0.75, 0.5)},
        at=1_700_000_002.0,
        source="key-1",
        sources={HUMAN: "key-1"},
    )


def test_every_score_of_a_decision_says_who_sent_it(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", judge="auto", source="key-1"), make.feedback("f2", source="key-2")])
    assert last_feedback(store).sources == {("auto", "overall"): "key-1", HUMAN: "key-2"}
    store.commit([make.change("f1", None)])
    assert last_feedback(store).sources == {("auto", "overall"): "key-1", HUMAN: "key-2"}


def test_the_same_score_again_is_a_repeat(store, make):
    store.commit([make.decision("d1"), make.feedback("f1")])
    again = store.commit([make.feedback("f2", at=5.0, comment="again"), make.feedback("f3")])
    assert again == [Committed(2, "f1", repeated=True)] * 2
    assert store.last_seq() == 2


@pytest.mark.parametrize("changes", [{"score": 0.5}, {"weight": 0.5}])
def test_another_score_by_the_same_judge_is_a_conflict_that_names_the_way_out(store, make, changes):
    store.commit([make.decision("d1"), make.feedback("f1")])
    (refused,) = store.commit([make.feedback("f2", **changes)])
    assert isinstance(refused, FeedbackConflict)
    assert "PUT /v1/feedback/f1" in refused.remedy
    assert store.last_seq() == 2


def test_a_correction_is_in_before_and_after(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", score=0.75, weight=0.5, source="key-1")])
    assert store.commit([make.change("f1", 0.25, at=7.0)]) == [Committed(3, "f1", revision=2)]
    event = last_feedback(store)
    assert event.before == {HUMAN: (0.75, 0.5)}
    assert event.after == {HUMAN: (0.25, 0.5)}
    assert (event.revision, event.at, event.source) == (2, 7.0, "key-1")


def test_a_retraction_is_only_in_before(store, make):
    store.commit([make.decision("d1"), make.feedback("f1"), make.change("f1", None)])
    event = last_feedback(store)
    assert event.before == {HUMAN: (0.75, 1.0)}
    assert event.after == {}


def test_a_change_to_what_holds_is_a_repeat(store, make):
    store.commit([make.decision("d1"), make.feedback("f1")])
    assert store.commit([make.change("f1", 0.75)]) == [Committed(2, "f1", repeated=True)]
    store.commit([make.change("f1", None)])
    assert store.commit([make.change("f1", None)]) == [Committed(3, "f1", revision=2, repeated=True)]
    assert store.last_seq() == 3


def test_retracted_feedback_can_be_scored_again_under_its_id(store, make):
    store.commit([make.decision("d1"), make.feedback("f1"), make.change("f1", None)])
    assert store.commit([make.feedback("f9", score=0.5, weight=0.25, source="key-2")]) == [Committed(4, "f1", revision=3)]
    event = last_feedback(store)
    assert (event.before, event.after, event.source) == ({}, {HUMAN: (0.5, 0.25)}, "key-2")
    assert store.commit([make.change("f1", None), make.change("f1", 1.0)]) == [Committed(5, "f1", 4), Committed(6, "f1", 5)]
    assert last_feedback(store).after == {HUMAN: (1.0, 0.25)}
    assert isinstance(store.commit([make.change("f9", 0.0)])[0], FeedbackNotFound)


def test_after_a_correction_the_first_score_conflicts_and_the_new_one_repeats(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", score=0.75), make.change("f1", 0.25)])
    old, new = store.commit([make.feedback("f2", score=0.75), make.feedback("f3", score=0.25)])
    assert isinstance(old, FeedbackConflict)
    assert new == Committed(3, "f1", revision=2, repeated=True)


def test_judges_and_metrics_stand_beside_each_other(store, make):
    store.commit(
        [
            make.decision("d1"),
            make.feedback("f1", score=0.75),
            make.feedback("f2", judge="llm", score=0.5),
            make.feedback("f3", metric="style", score=0.25),
        ]
    )
    assert last_feedback(store).before == {HUMAN: (0.75, 1.0), ("llm", "overall"): (0.5, 1.0)}
    store.commit([make.change("f2", None)])
    assert last_feedback(store).after == {HUMAN: (0.75, 1.0), ("human", "style"): (0.25, 1.0)}
    store.commit([make.change("f1", 1.0)])
    event = last_feedback(store)
    assert event.before == {HUMAN: (0.75, 1.0), ("human", "style"): (0.25, 1.0)}
    assert event.after == {HUMAN: (1.0, 1.0), ("human", "style"): (0.25, 1.0)}


def test_an_idempotency_key_returns_the_first_answer_even_after_a_correction(store, make):
    store.commit([make.decision("d1"), make.feedback("f1", idempotency_key="k"), make.change("f1", 0.25)])
    assert store.commit([make.feedback("f2", idempotency_key="k")]) == [Committed(2, "f1", repeated=True)]
    store.commit([make.change("f1", None)])
    assert store.commit([make.feedback("f3", idempotency_key="k")]) == [Committed(2, "f1", repeated=True)]
    assert store.last_seq() == 4


@pytest.mark.parametrize("changes", [{"score": 0.5}, {"weight": 0.5}, {"judge": "llm"}, {"metric": "style"}, {"decision_id": "d2"}])
def test_an_idempotency_key_with_another_payload_is_a_conflict(store, make, changes):
    store.commit([make.decision("d1"), make.decision("d2"), make.feedback("f1", idempotency_key="k")])
    (refused,) = store.commit([make.feedback("f2", idempotency_key="k", **changes)])
    assert isinstance(refused, FeedbackConflict)
    assert refused.field == "idempotency_key"
    assert "PUT /v1/feedback/f1" in refused.remedy
    assert store.last_seq() == 3


def test_keys_and_changes_are_seen_inside_a_group(store, make):
    results = store.commit(
        [
            make.decision("d1"),
            make.feedback("f1", idempotency_key="k"),
            make.feedback("f2", idempotency_key="k"),
            make.feedback("f3", idempotency_key="k", score=0.0),
            make.change("f1", None),
            make.feedback("f4", score=0.0),
        ]
    )
    assert results[:3] == [Committed(1, "d1"), Committed(2, "f1"), Committed(2, "f1", repeated=True)]
    assert isinstance(results[3], FeedbackConflict)
    assert results[4:] == [Committed(3, "f1", revision=2), Committed(4, "f1", revision=3)]


def test_a_feedback_id_belongs_to_one_score(store, make):
    store.commit([make.decision("d1"), make.decision("d2"), make.feedback("f1", "d1")])
    (refused,) = store.commit([make.feedback("f1", "d2")])
    assert isinstance(refused, FeedbackConflict)
    assert refused.field == "id"
    assert store.last_seq() == 3


@pytest.mark.parametrize("score", [float("nan"), -0.01, 1.01, float("inf")])
def test_a_score_outside_its_range_never_reaches_the_log(store, make, score):
    store.commit([make.decision("d1"), make.feedback("f1")])
    for refused in store.commit([make.feedback("f2", judge="llm", score=score), make.change("f1", score)]):
        assert isinstance(refused, RouterError)
        assert refused.field == "score"
    assert store.last_seq() == 2


def test_feedback_is_about_the_model_that_served_if_that_was_known(store, make):
    store.commit([make.decision("d1"), make.outcome("d1", model="z/other"), make.feedback("f1")])
    assert last_feedback(store).model == "z/other"


def test_the_first_feedback_settles_the_model_for_all_later_ones(store, make):
    store.commit([make.decision("d1"), make.feedback("f1"), make.change("f1", None)])
    store.commit([make.outcome("d1", model="z/other")])
    store.commit([make.feedback("f2", score=0.5), make.feedback("f3", judge="llm"), make.change("f1", 0.0)])
    assert [e.model for e in store.read_log(0, 100) if isinstance(e, FeedbackEvent)] == ["b/two"] * 5


def test_names_may_hold_any_text(store, make):
    odd = "ü\"\\\n\U0001f600 ' ;--"
    store.commit([make.decision("d1", task_type=odd, tags=((odd, odd),)), make.feedback("f1", judge=odd, metric=odd, comment=odd)])
    store.commit([make.feedback("f2")])
    assert last_feedback(store).before == {(odd, odd): (0.75, 1.0)}
    assert store.decisions(task_type=odd)[0].decision.tags == ((odd, odd),)


# reads beside writes


def test_readers_see_whole_groups_and_never_a_gap(store, make):
    groups, size = 40, 5
    seen: list[list[int]] = []
    begun, done = threading.Event(), threading.Event()

    def read() -> None:
        finished = False
        while not finished:
            finished = done.is_set()  # before the look: nothing is added after it
            seen.append([event.seq for event in store.read_log(0, groups * size + 1)])
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    for g in range(groups):
        scores = [make.feedback(f"f{g}-{j}", f"d{g}", judge=f"j{j}") for j in range(3)]
        store.commit([make.decision(f"d{g}"), make.outcome(f"d{g}"), *scores])
    done.set()
    reader.join()
    for seqs in seen:
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) % size == 0
    assert (len(seen[0]), len(seen[-1])) == (0, groups * size)


def test_threads_that_commit_share_the_counter(store, make):
    results: list[Committed] = []

    def write(name: str) -> None:
        for i in range(30):
            results.extend(store.commit([make.decision(f"{name}{i}")]))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.seq for result in results) == list(range(1, 91))
    assert {e.seq: e.decision.id for e in store.read_log(0, 100)} == {r.seq: r.id for r in results}


# models and snapshots


def model(name: str = "one", **changes: object) -> Model:
    full = Model(
        id=f"a/{name}",
        provider="a",
        name=name,
        family="f",
        context_window=128_000,
        max_output_tokens=4096,
        modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
        capabilities=frozenset({Capability.TOOLS, Capability.JSON, Capability.STREAMING}),
        price=Price(0.5, 1.5, None, "2026-01-01", "https://example.com/prices", "2026-02-01"),
        speed=SpeedFacts(0.4, 80.0),
        tags=frozenset({"x", "y"}),
    )
    return replace(full, **changes)


def test_every_version_of_a_model_is_kept(store):
    assert store.models() == []
    assert store.model_versions("a/one") == []
    store.save_model(model(), 1.5)
    store.save_model(model("two", price=None, speed=None), 2.5)
    store.save_model(model(version=2, retired=True), 3.5)
    assert store.models() == [model(version=2, retired=True), model("two", price=None, speed=None)]
    assert store.model_versions("a/one") == [(1.5, model()), (3.5, model(version=2, retired=True))]


def snapshot(seq: int, features_schema: int = 1) -> Snapshot:
    return Snapshot(seq, features_schema, f"digest-{seq}", bytes([seq, 0, 255]), 100.0 + seq)


def test_the_newest_three_snapshots_are_kept(store):
    assert store.latest_snapshot(1) is None
    for seq in (1, 2):
        store.save_snapshot(snapshot(seq))
    store.save_snapshot(snapshot(3, features_schema=2))
    assert store.latest_snapshot(1) == snapshot(2)
    assert store.latest_snapshot(2) == snapshot(3, features_schema=2)
    store.save_snapshot(snapshot(4, features_schema=2))
    assert store.latest_snapshot(1) == snapshot(2)
    store.save_snapshot(snapshot(5, features_schema=2))
    assert store.latest_snapshot(1) is None
    assert store.latest_snapshot(2) == snapshot(5, features_schema=2)


def test_a_refold_under_a_new_schema_starts_over_and_still_counts_as_newest(store):
    for seq in (10, 20, 30):
        store.save_snapshot(snapshot(seq))
    store.save_snapshot(snapshot(5, features_schema=2))
    assert store.latest_snapshot(2) == snapshot(5, features_schema=2)


def test_battery_runs_come_back_the_newest_first(store):
    assert store.battery_runs() == []
    assert store.battery_cells("run_none") == []
    cells = [BatteryCell("code_generation", "a/one", 20, 5), BatteryCell("multimodal", "b/two", 0, 1, "it does not read image")]
    old, new = BatteryRun("run_1", "9.1", "d" * 64, "a/one", 100.0), BatteryRun("run_2", "9.1", "d" * 64, "a/one", 200.0)
    store.add_battery_run(old, cells)
    store.add_battery_run(new, [])
    assert store.battery_runs() == [new, old]
    assert store.battery_cells("run_1") == cells
    assert store.battery_cells("run_2") == []
    store.change_battery_run("run_1", RunStatus.DONE, 150.0)
    store.charge_battery_run("run_1", 0.25)
    store.charge_battery_run("run_1", 0.5)
    assert store.battery_runs() == [new, replace(old, status=RunStatus.DONE, ended_at=150.0, judge_usd=0.75)]
    assert store.last_seq() == 0


def test_snapshots_and_models_take_no_seq(store, make):
    store.save_snapshot(snapshot(1))
    store.save_model(model(), 1.0)
    assert store.last_seq() == 0
    assert store.commit([make.decision()]) == [Committed(1, "d1")]


def test_writes_are_values_the_store_never_changes(store, make):
    written: Decision = make.decision(alternatives=(make.alternative(),))
    copy = replace(written)
    store.commit([written])
    assert written == copy


# arrivals of models


def test_the_first_models_were_there_from_the_start_and_later_ones_arrive(store, make):
    store.announce(["a/one", "b/two"], 1.0)
    assert store.last_seq() == 0
    store.commit([make.decision("d1")])
    store.announce(["b/two", "c/three", "a/one", "d/four"], 2.0)
    store.announce(["c/three"], 3.0)
    assert store.read_log(1, 10) == [ArrivalEvent(2, "c/three"), ArrivalEvent(3, "d/four")]
    assert store.read_evidence(0, 10) == (store.read_log(1, 10), 3)
    assert store.commit([make.decision("d2")]) == [Committed(4, "d2")]
    assert store.counts()["decisions"] == 2


def test_a_model_that_is_saved_is_announced_once(store):
    store.announce(["a/one"], 1.0)
    for name in ("new", "newer"):
        store.save_model(Model("acme/new", "acme", name, "x", 1_000), 2.0)
    assert store.read_log(0, 10) == [ArrivalEvent(1, "acme/new")]


# allowances


def test_an_allowance_is_drawn_once_by_whoever_asks_and_no_further_than_its_limit(store):
    assert store.allowances(100) == {}
    assert [store.draw_allowance("a", 100, wanted=40, limit=100) for _ in range(4)] == [40, 40, 20, 0]
    assert store.draw_allowance("a", 200, wanted=40, limit=100) == 40
    assert store.draw_allowance("b", 100, wanted=7, limit=0) == 0
    store.change_allowance("a", 100, -30)
    assert store.draw_allowance("a", 100, wanted=40, limit=100) == 30
    assert store.allowances(100) == {"a": 100, "b": 0}
    assert store.draw_allowance("a", 100, wanted=40, limit=50) == 0


def test_services_that_draw_at_once_from_a_database_server_take_no_more_than_there_is(postgres_url):
    draws = {
        "allowance": lambda store, start: store.draw_allowance("a", start, wanted=40, limit=100),
        "key": lambda store, start: store.draw_budget("key_1", start, at_least=1, wanted=40, limit=100),
    }
    stores = [SqlStore(postgres_url, "normal") for _ in range(3)]
    together = threading.Barrier(3)

    def drawn_by(store, draw, start):
        together.wait(60)
        return draw(store, start) + draw(store, start)

    try:
        stores[0].save_key(ApiKey("key_1", "team", "pk_1", "digest", frozenset({Scope.ROUTE}), 1.0))
        with ThreadPoolExecutor(3) as threads:
            for draw in draws.values():
                for start in range(30):  # a row of its own for each, so that its making is raced for too
                    assert sum(threads.map(drawn_by, stores, [draw] * 3, [start] * 3)) == 100
    finally:
        for store in stores:
            store.close()


# what is set at run time


def test_overrides_are_numbered_on_and_kept_together(store):
    assert store.overrides(0) == []
    one, two = Override("budget", "usd_per_day", 2.5, 10.0, "key_1"), Override("budget", "exhausted", "refuse", 10.0, "key_1")
    lifted, other = Override("budget", "usd_per_day", None, 11.0, None), Override("pin", "quick_qa", ["a/one", "b/\u00e9"], 12.0, None)
    store.add_overrides([one, two])
    store.add_overrides([lifted])
    store.add_overrides([])
    store.add_overrides([other])
    kept = store.overrides(0)
    assert [replace(override, number=0) for override in kept] == [one, two, lifted, other]
    numbers = [override.number for override in kept]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1
    assert store.overrides(numbers[1]) == kept[2:]
    assert store.overrides(numbers[-1]) == []
    assert store.last_seq() == 0


def test_whoever_reads_on_misses_none_of_the_overrides_that_several_services_keep_at_once(postgres_url):
    writers = [SqlStore(postgres_url, "normal") for _ in range(3)]
    reader = SqlStore(postgres_url, "normal")
    done = threading.Event()
    seen: list[Override] = []

    def write(n: int) -> None:
        for i in range(20):
            writers[n].add_overrides([Override("pin", f"{n}", [i], 1.0, None), Override("pin", f"{n}", [i, i], 1.0, None)])

    def read() -> None:
        while not done.is_set():
            seen.extend(reader.overrides(seen[-1].number if seen else 0))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    reading = threading.Thread(target=read)
    for thread in (reading, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reading.join()
    seen.extend(reader.overrides(seen[-1].number if seen else 0))
    assert seen == reader.overrides(0)
    assert len(seen) == 120
    for made in (*writers, reader):
        made.close()
