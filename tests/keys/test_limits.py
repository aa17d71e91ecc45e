"""Rates and budgets hold whatever runs at once; a stopped service loses nothing and spends nothing twice."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.keys import NANO_USD, Budget, Rate, Scope, digest_of, new_token, read_budget, read_rate, read_scopes, read_span, window
from router.errors import BudgetExhausted, KeyConflict, KeyMissing, KeyNotFound, RateExceeded, ScopeMissing, StorageUnavailable, TaskInvalid
from router.services.keys import MAX_AGE_S, Reservation
from router.storage import schema
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore
from tests.keys.conftest import Clock, service, wanted

CHAT = frozenset({Scope.CHAT})


async def test_a_thousand_requests_at_once_keep_to_the_rate(store: MemoryStore) -> None:
    ticks = Clock(100.0)
    keys = service(store, monotonic=ticks)
    made, token = await keys.create(wanted(rate=Rate(10, 1)))

    waits: list[float] = []

    async def knock() -> bool:
        try:
            return await keys.admit(token, CHAT) == made.id
        except RateExceeded as exc:
            waits.append(exc.retry_after_s or 0.0)
            return False

    assert sum(await asyncio.gather(*(knock() for _ in range(1000)))) == 10
    ticks.now += 0.55
    assert sum(await asyncio.gather(*(knock() for _ in range(1000)))) == 5
    ticks.now += 3_600
    assert sum(await asyncio.gather(*(knock() for _ in range(1000)))) == 10, "what is not used does not pile up"
    assert all(0 < wait <= 0.1 for wait in waits)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_thousand_calls_at_once_in_two_services_keep_to_the_budget(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    if kind == "sqlite":
        schema.upgrade(url)
    store = MemoryStore() if kind == "memory" else SqlStore(url, "normal")
    services = [service(store), service(store)]  # type: ignore[arg-type]
    made, token = await services[0].create(wanted(budget=Budget(1.0, "day")))
    rng = random.Random(3)
    spent = held = peak = 0.0
    waits: list[float] = []

    async def call(i: int, most: float, share: float) -> None:
        nonlocal spent, held, peak
        keys = services[i % 2]
        key_id = await keys.admit(token, CHAT)
        try:
            reservation = await keys.reserve(key_id, most)
        except BudgetExhausted as exc:
            waits.append(exc.retry_after_s or 0.0)
            return
        held += most
        peak = max(peak, spent + held)
        await asyncio.sleep(0)
        keys.settle(reservation, most * share)
        held -= most
        spent += most * share

    await asyncio.gather(*(call(i, rng.uniform(0.001, 0.01), rng.uniform(0.1, 1.0)) for i in range(1000)))
    assert waits
    assert all(1 <= wait <= 86_400 for wait in waits)
    assert peak <= 1.0 + 1e-9
    assert spent > 0.85
    for keys in services:
        await keys.close()
    (((_, _), drawn),) = store.drawn_budgets().items()
    assert drawn / NANO_USD == pytest.approx(spent, abs=1e-5), "what was drawn and not spent is put back"
    again = service(store)  # type: ignore[arg-type]
    await again.admit(token, CHAT)
    with pytest.raises(BudgetExhausted):
        await again.reserve(made.id, 1.001 - spent)
    store.close()


async def test_a_killed_service_never_gives_a_budget_back(store: MemoryStore) -> None:
    first = service(store)
    made, token = await first.create(wanted(budget=Budget(1.0, "month")))
    await first.admit(token, CHAT)
    first.settle(await first.reserve(made.id, 0.7), 0.7)  # and never closed
    second = service(store)
    await second.admit(token, CHAT)
    with pytest.raises(BudgetExhausted):
        await second.reserve(made.id, 0.31)
    await second.reserve(made.id, 0.29)


async def test_unknown_costs_keep_the_reservation_and_dearer_calls_count(store: MemoryStore) -> None:
    keys = service(store)
    made, token = await keys.create(wanted(budget=Budget(1.0, "day")))
    await keys.admit(token, CHAT)
    keys.settle(await keys.reserve(made.id, 0.4), None)
    keys.settle(await keys.reserve(made.id, 0.1), 0.5)
    with pytest.raises(BudgetExhausted):
        await keys.reserve(made.id, 0.2)
    assert await keys.reserve(None, 5.0) == Reservation(None, 0, 0), "no key, no budget"
    for amount in (float("nan"), -1.0, float("inf")):
        with pytest.raises(ValueError, match="amount of money"):
            await keys.reserve(made.id, amount)


async def test_a_budget_starts_anew_with_its_period(store: MemoryStore) -> None:
    clock = Clock(datetime(2026, 11, 23, 23, 59, tzinfo=UTC).timestamp())
    keys = service(store, clock=clock)
    made, token = await keys.create(wanted(budget=Budget(1.0, "day")))
    await keys.admit(token, CHAT)
    late = await keys.reserve(made.id, 1.0)
    with pytest.raises(BudgetExhausted) as refused:
        await keys.reserve(made.id, 0.01)
    assert refused.value.retry_after_s == 60
    clock.now += 61
    await keys.reserve(made.id, 1.0)
    keys.settle(late, 0.2)
    with pytest.raises(BudgetExhausted):
        await keys.reserve(made.id, 0.1)  # what is left of yesterday is not today's


async def test_revocation_and_expiry_hold_within_seconds_for_services_that_run(store: MemoryStore) -> None:
    clock, ticks = Clock(1_000.0), Clock(50.0)
    running, elsewhere = service(store, clock=clock, monotonic=ticks), service(store, clock=clock)
    assert await running.admit(None, CHAT) is None
    made, token = await elsewhere.create(wanted("a", expires_at=2_000.0))
    ticks.now += MAX_AGE_S + 0.1
    with pytest.raises(KeyMissing):
        await running.admit(None, CHAT)
    assert await running.admit(token, CHAT) == made.id
    other, second = await elsewhere.create(wanted("b", Scope.READ))
    with pytest.raises(KeyConflict):
        await elsewhere.create(wanted("b"))
    await elsewhere.revoke("b")
    with pytest.raises(KeyNotFound):
        await elsewhere.revoke("b")
    ticks.now += MAX_AGE_S + 0.1
    with pytest.raises(KeyMissing):
        await running.admit(second, frozenset({Scope.READ}))
    clock.now = 2_000.0
    with pytest.raises(KeyMissing):
        await running.admit(token, CHAT)
    assert other.usable(0.0)


async def test_a_service_never_opens_again(store: MemoryStore) -> None:
    keys = service(store)
    _, token = await keys.create(wanted("a", Scope.READ))
    with pytest.raises(ScopeMissing):
        await keys.admit(token, CHAT)
    await keys.revoke("a")
    with pytest.raises(KeyMissing):
        await keys.admit(None, CHAT)


def test_tokens_are_of_one_form_and_only_their_hash_is_comparable() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len({digest_of(token) for token in tokens}) == 100
    assert all(digest_of(bad) is None for bad in ("", "pm_", "x" * 46, f"{new_token()} ", new_token()[:-1], "pm_" + "é" * 43))


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "1.5/s", "10/year", "10 / s", "9" * 10 + "/s"])
def test_rates_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(TaskInvalid):
        read_rate(text)


@pytest.mark.parametrize("text", ["", "50", "0/day", "nan/day", "inf/day", "-5/day", "5/s", "1e3/day"])
def test_budgets_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(TaskInvalid):
        read_budget(text)


def test_limits_are_read_as_written() -> None:
    assert (read_rate("600/min"), read_rate("10/s")) == (Rate(600, 60), Rate(10, 1))
    assert [read_budget(text) for text in ("2.5/h", "50/day", "9/month")] == [Budget(2.5, "hour"), Budget(50, "day"), Budget(9, "month")]
    assert (read_span("90d"), read_span("30min")) == (90 * 86_400, 1_800)
    for bad in ("90", "0d", "1y"):
        with pytest.raises(TaskInvalid):
            read_span(bad)
    for scopes in ([], ["all"], ["read", "Chat"]):
        with pytest.raises(TaskInvalid):
            read_scopes(scopes)


@given(st.sampled_from(["hour", "day", "week", "month"]), st.floats(0, 4e9))
def test_periods_follow_each_other(period: str, at: float) -> None:
    start, end = window(period, at)
    assert start <= at < end
    assert window(period, end) == (end, window(period, end)[1])
    assert window(period, end - 1)[0] == start
    if period == "week":
        assert datetime.fromtimestamp(start, UTC).weekday() == 0


async def test_keys_that_vanish_do_not_open_the_service(store: MemoryStore) -> None:
    ticks = Clock(0.0)
    keys = service(store, monotonic=ticks)
    _, token = await keys.create(wanted())
    await keys.admit(token, CHAT)
    store._keys.clear()  # as where the database file is replaced under the service
    ticks.now += MAX_AGE_S + 0.1
    with pytest.raises(StorageUnavailable):
        await keys.admit(None, CHAT)
