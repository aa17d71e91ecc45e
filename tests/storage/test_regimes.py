"""What decisions were taken by is in the log, at its position."""

from dataclasses import replace

from router.domain.events import Committed, Regime, RegimeEvent
from router.domain.models import Capability, Modality, Model, Price, SpeedFacts

MODEL = Model(
    "acme/one", "acme", "one", "acme", 8_000, 4_000, frozenset({Modality.TEXT, Modality.IMAGE}), frozenset({Capability.JSON}),
    Price(0.1, 0.3, effective_from="2026-01-01"), SpeedFacts(0.2, 80.0), tags=frozenset({"small"}),
)  # fmt: skip
FIRST = Regime("c1", "p1", {"policy": "thompson", "policy_parameters": {"floor": 0.02}, "fallback_model": None}, (MODEL,), 1.5)


def test_a_regime_takes_a_position_and_reads_back_whole(store, make):
    second = replace(FIRST, catalog_version="c2", models=(replace(MODEL, price=None, version=2),), at=9.0)
    assert store.regime("c1", "p1") is None
    assert store.regime_at(10) is None
    told = store.commit([FIRST, make.decision("d1"), second, make.outcome("d1")])
    assert [type(result) for result in told] == [Committed] * 4
    assert [result.seq for result in told] == [1, 2, 3, 4]
    assert store.regime("c1", "p1") == FIRST
    assert store.regime("c2", "p1") == second
    assert store.regime("c1", "p2") is None
    assert [store.regime_at(seq) for seq in (0, 1, 2, 3, 4)] == [None, FIRST, FIRST, second, second]


def test_the_fold_reads_regimes_in_their_turn(store, make):
    store.commit([FIRST, make.decision("d1"), make.outcome("d1"), replace(FIRST, catalog_version="c2")])
    events, upto = store.read_evidence(0, 10)
    assert upto == 4
    assert [event.seq for event in events] == [1, 3, 4]
    assert events[0] == RegimeEvent(1, FIRST)
    assert store.read_log(3, 1) == [events[2]]


def test_a_regime_that_holds_again_is_found_by_its_versions(store):
    again = replace(FIRST, at=3.0)
    store.commit([FIRST, replace(FIRST, policy_version="p2"), again])
    assert store.regime("c1", "p1") == again
