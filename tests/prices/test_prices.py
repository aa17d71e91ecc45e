"""What a call costs, which price was in force, and what a correction does to the log and to what was learned."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.features import N_FEATURES, SCHEMA_VERSION, to_bytes
from learning.learner import Learner
from learning.targets import Target
from router.domain.catalog import Catalog, load_shipped
from router.domain.decisions import Decision
from router.domain.events import CostChange, CostSource, Outcome, Status
from router.domain.evidence import fold
from router.domain.models import Model, Price
from router.domain.prices import Billed, Dated, age_days, cost_of, moment, price_at, timeline, token_rates
from router.errors import OutcomeConflict
from router.ports import Store
from router.services import recosting
from router.services.models import ModelService
from router.storage import schema
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore
from tests.cli.conftest import Command, pointsman

__all__ = ["pointsman"]

DAY = 86_400.0
T0 = moment("2026-06-01") or 0.0


def model(price: Price | None) -> Model:
    return Model("acme/a", "acme", "a", "acme", 8_000, price=price)


# per million: input 2, output 10, cached 0.5, cache write 2.5, reasoning 20; 0.01 per image
FULL = Price(2, 10, 0.5, cache_write_usd_per_mtok=2.5, reasoning_usd_per_mtok=20, usd_per_image=0.01)


@pytest.mark.parametrize(
    ("price", "billed", "usd"),
    [
        (FULL, Billed(1_000_000, 1_000_000), 12.0),
        (FULL, Billed(1_000_000, 0, cached_input_tokens=400_000, cache_write_tokens=100_000), 1.0 + 0.2 + 0.25),
        (FULL, Billed(0, 1_000_000, reasoning_tokens=250_000), 7.5 + 5.0),
        (FULL, Billed(0, 0, images=3), 0.03),
        (Price(2, 10), Billed(1_000_000, 100_000, 900_000, 50_000, 100_000), 3.0),  # nothing is billed apart
        (Price(2, 10), Billed(100, 100, cached_input_tokens=900, reasoning_tokens=900), 100 * 12e-6),  # never below zero
        (Price(0, 0), Billed(None, None), 0.0),  # free is free whatever was counted
        (Price(2, 10), Billed(None, 5), None),
        (None, Billed(1, 1), None),
        (Price(0, 0, usd_per_hardware_s=0.001), Billed(None, None, hardware_s=12.0), 0.012),
        (Price(0, 0, usd_per_hardware_s=0.001), Billed(10, 10), None),
    ],
)
def test_costs_by_hand(price: Price | None, billed: Billed, usd: float | None) -> None:
    found = cost_of(price, billed)
    assert found is None if usd is None else found == pytest.approx(usd, rel=1e-12)


def test_hardware_by_the_second_is_not_free_per_token() -> None:
    assert token_rates(Price(0, 0, usd_per_hardware_s=0.001)) is None
    assert token_rates(Price(0, 0)) == (0, 0)


def test_a_price_holds_from_its_date_and_the_latest_knowledge_wins() -> None:
    first, second, fixed = Price(1, 1), Price(2, 2, effective_from="2026-06-10"), Price(3, 3, effective_from="2026-06-05")
    versions = [(T0 + 9 * DAY, model(second)), (T0 + 20 * DAY, model(fixed))]
    known = timeline(model(first), versions)
    assert price_at(known, T0) == first
    assert price_at(known, T0 + 4.5 * DAY) == fixed, "corrected back to its own date"
    assert price_at(known, T0 + 9.5 * DAY) == fixed
    before = timeline(model(first), versions[:1])
    assert price_at(before, T0 + 8.9 * DAY) == first
    assert price_at(before, T0 + 9.1 * DAY) == second
    assert price_at(timeline(None, versions[:1]), T0) is None


def test_a_price_without_a_date_holds_from_when_it_was_saved_and_other_changes_are_no_prices() -> None:
    known = timeline(model(Price(1, 1)), [(T0, model(Price(1, 1))), (T0 + DAY, model(Price(2, 2))), (T0 + 2 * DAY, model(None))])
    assert known == (Dated(-math.inf, Price(1, 1)), Dated(T0 + DAY, Price(2, 2)), Dated(T0 + 2 * DAY, None))
    assert [price_at(known, T0 + days * DAY) for days in (0.5, 1.5, 2.5)] == [Price(1, 1), Price(2, 2), None]


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.integers(1, 28)), max_size=6))
def test_a_price_in_force_is_one_that_had_come(history: list[tuple[float, int | None]]) -> None:
    versions = [
        (T0 + at * DAY, model(Price(i + 1, 1, effective_from="" if day is None else f"2026-06-{day:02}")))
        for i, (at, day) in enumerate(sorted(history, key=lambda one: one[0]))
    ]
    known = timeline(model(Price(0, 1)), versions)
    for at in (T0, T0 + 15 * DAY, T0 + 200 * DAY):
        assert any(dated.since <= at and dated.price == price_at(known, at) for dated in known)
    assert price_at(known, T0 + 200 * DAY) == (versions[-1][1].price if versions else Price(0, 1))


async def test_the_service_tells_the_price_at_a_time() -> None:
    store, clock = MemoryStore(), [T0]
    service = ModelService(store, Catalog([model(Price(1, 1))]), clock=lambda: clock[0])
    await service.change("acme/a", {"price": Price(5, 5)})
    assert await service.price_at("acme/a", T0 - 1) == Price(1, 1)
    assert await service.price_at("acme/a", T0 + 1) == Price(5, 5)


def test_ages() -> None:
    assert age_days(Price(1, 1, checked="2026-06-01"), T0 + 181.5 * DAY) == 181
    assert age_days(Price(1, 1, effective_from="2026-06-01T12:00:00Z"), T0) == 0
    assert age_days(Price(1, 1), T0) is None


def decision(i: int) -> Decision:
    features = np.zeros(N_FEATURES)
    features[0], features[1] = 1.0, i % 7 / 7
    return Decision(
        id=f"d{i}", at=T0, task_type=("code", "prose")[i % 2], features_schema=SCHEMA_VERSION, features=to_bytes(features), request={},
        eligible=("acme/a",), propensities=(1.0,), model="acme/a", propensity=1.0, confidence=1.0, reason="only one", policy="thompson",
        policy_version="1", policy_seq=0, catalog_version="c",
    )  # fmt: skip


def outcome(
    i: int, price: Price, *, source: CostSource | None = CostSource.COMPUTED, status: Status = Status.OK, days: float = 0.0
) -> Outcome:
    billed = Billed(1_000 + 10 * i, 200 + i)
    return Outcome(
        f"d{i}", status, T0 + days * DAY, None, 1.0, None, billed.input_tokens, billed.output_tokens, cost_of(price, billed), source
    )


def learned(store: Store) -> Learner:
    learner = Learner(10_000.0)
    for event in store.read_log(0, 10_000):
        fold(learner, event)
        learner.advance(event.seq)
    return learner


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    url = f"sqlite:///{tmp_path / 'log.db'}"
    schema.upgrade(url)
    return SqlStore(url, "normal")


def test_recosting_makes_the_log_and_the_learner_what_the_right_price_would_have_made_them(store: Store) -> None:
    wrong, right = Price(1, 4), Price(3, 12)
    n = 60
    prices = {"acme/a": timeline(model(wrong), [(T0 + 50 * DAY, model(Price(3, 12, effective_from="2026-06-11")))])}

    def fill(into: Store, price_of_late: Price) -> None:
        into.commit([decision(i) for i in range(n)])
        into.commit([outcome(i, wrong if i < 20 else price_of_late, days=0 if i < 20 else 20) for i in range(n - 3)])

    fill(store, wrong)
    special = [
        outcome(n - 3, Price(9, 9), source=CostSource.REPORTED, days=20),
        outcome(n - 2, wrong, status=Status.ERROR, days=20),
        Outcome(f"d{n - 1}", Status.OK, T0 + 20 * DAY, None, 1.0, None, 1_000, 200),  # cost unknown, tokens known
    ]
    store.commit(special)
    found = recosting.corrections(store, prices)
    assert [one.decision_id for one in found] == [f"d{i}" for i in range(20, n - 3)] + [f"d{n - 2}", f"d{n - 1}"]
    assert recosting.corrections(store, prices, since=T0 + 21 * DAY) == []
    assert recosting.append(store, found, T0 + 60 * DAY) == []
    assert recosting.corrections(store, prices) == [], "a second time changes nothing"

    straight = MemoryStore()
    fill(straight, right)
    last = special[2]
    straight.commit([special[0], special[1], Outcome(last.decision_id, last.status, last.at, None, 1.0, None, 1_000, 200, 0.0054)])
    ours, theirs = learned(store).statistics, learned(straight).statistics
    for name in ("gram", "moment", "square"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-9)
    assert ours.labels[Target.COST].sum() == pytest.approx(theirs.labels[Target.COST].sum())
    record = store.decision("d30")
    assert record is not None
    assert record.outcome is not None
    assert (record.outcome.cost_usd, record.outcome.cost_source) == (outcome(30, right).cost_usd, CostSource.COMPUTED)
    (refused,) = store.commit([CostChange(f"d{n - 3}", 1.0, T0)])
    assert isinstance(refused, OutcomeConflict)
    (again,) = store.commit([outcome(30, wrong, days=20)])
    assert getattr(again, "repeated", False), "what was first sent is still a repeat"
    store.close()


def test_what_nobody_can_compute_is_left_alone(store: Store) -> None:
    store.commit([decision(i) for i in range(4)])
    store.commit(
        [
            Outcome("d0", Status.OK, T0, None, cost_usd=0.5, cost_source=CostSource.COMPUTED),  # no tokens
            Outcome("d1", Status.OK, T0, "gone/model", 1.0, None, 10, 10, 0.5, CostSource.COMPUTED),
            Outcome("d2", Status.OK, T0, None, 1.0, None, 10, 10, 0.5),  # of unknown origin
            outcome(3, Price(1, 1)),
        ]
    )
    later = model(Price(7, 7, effective_from="2026-07-01"))
    assert recosting.corrections(store, {"acme/a": timeline(model(Price(1, 1)), [(T0 + 1, later)])}) == []
    unknown = recosting.corrections(store, {"acme/a": timeline(model(None), [])})
    assert [(one.decision_id, one.after_usd) for one in unknown] == [("d0", None), ("d3", None)], "a price that was never known"
    store.close()


def test_the_command_tells_what_changes_and_then_changes_it(pointsman: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pointsman.db'}"
    schema.upgrade(url)
    kept = SqlStore(url, "normal")
    kept.save_model(model(Price(1, 4, effective_from="2026-01-01")), T0 - DAY)
    kept.commit([decision(i) for i in range(5)])
    kept.commit([outcome(i, Price(1, 4)) for i in range(5)])
    kept.save_model(model(Price(2, 8, effective_from="2026-05-01", checked="2026-05-01")), T0 + DAY)
    kept.close()
    planned = pointsman("models", "recost", "--dry-run", "--json").json
    assert (planned["corrections"], planned["dry_run"]) == (5, True)
    (total,) = planned["models"]
    assert total["after_usd"] == pytest.approx(2 * total["before_usd"])
    assert pointsman("models", "recost", "--since", "2026-06-02").out == "every computed cost agrees with the prices in force\n"
    assert "5 costs were corrected" in pointsman("models", "recost").out
    assert pointsman("models", "recost", "--json").json["corrections"] == 0
    refused = pointsman("models", "recost", "--since", "yesterday")
    assert (refused.status, "[since]" in refused.err) == (2, True)


def test_the_command_shows_prices_their_sources_and_their_age(
    pointsman: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = load_shipped().get("openai/gpt-4o").price.checked  # type: ignore[union-attr]
    now = (moment(checked) or 0.0) + 100.5 * DAY
    monkeypatch.setattr("router.cli.prices.time", SimpleNamespace(time=lambda: now))
    day = datetime.fromtimestamp(now - 200 * DAY, UTC).strftime("%Y-%m-%d")
    old = {"input": 1, "output": 2, "cache_write": 1.25, "checked": day}
    more = {"models": [{"id": "acme/old", "family": "f", "context_window": 9, "price": old}]}
    (tmp_path / "more.json").write_text(json.dumps(more))
    assert pointsman("models", "add", "more.json").status == 0
    shown = {row["id"]: row for row in pointsman("models", "prices", "--json").json["prices"]}
    assert (shown["acme/old"]["stale"], shown["acme/old"]["age_days"]) == (True, 200)
    assert shown["acme/old"]["price"]["cache_write_usd_per_mtok"] == 1.25
    assert not shown["openai/gpt-4o"]["stale"]
    assert any(row["price"] is None and row["age_days"] is None for row in shown.values())
    table = pointsman("models", "prices", "--stale").out
    assert "200 d STALE" in table
    assert "openai/gpt-4o " not in table
