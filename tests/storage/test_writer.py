"""The group-commit writer over real stores."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from router.domain.events import Committed, Group, Write
from router.errors import DecisionNotFound, Overloaded, RouterError, StorageUnavailable
from router.ports import Store
from router.storage.memory import MemoryStore
from router.storage.writer import GroupCommitWriter


class GatedStore(MemoryStore):
    """A store whose commits wait for the test, as a slow disk would make them wait; it remembers the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.groups: list[int] = []

    def commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        self.entered.set()
        assert self.gate.wait(60)
        self.groups.append(len(writes))
        return super().commit(writes)


class FlakyStore(MemoryStore):
    """A store whose database does not answer while ``down``."""

    down = False

    def commit(self, writes: Sequence[Write]) -> list[Committed | RouterError]:
        if self.down:
            try:
                raise OSError("disk gone")
            except OSError as exc:
                raise StorageUnavailable("the database does not answer", remedy="retry") from exc
        return super().commit(writes)


@asynccontextmanager
async def running(
    store: Store,
    *,
    max_queue: int = 10_000,
    max_group: int = 512,
    linger_s: float = 0.0,
    lazy_s: float = 0.02,
    on_commit: Callable[[Group], None] | None = None,
) -> AsyncIterator[GroupCommitWriter]:
    writer = GroupCommitWriter(store, max_queue=max_queue, max_group=max_group, linger_s=linger_s, lazy_s=lazy_s, on_commit=on_commit)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()


async def all_queued(writer: GroupCommitWriter, count: int) -> None:
    for _ in range(1000):
        if writer.waiting == count:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"{writer.waiting} writes are waiting, not {count}")


async def entered(store: GatedStore) -> None:
    assert await asyncio.to_thread(store.entered.wait, 60)


async def test_a_write_returns_when_it_can_be_read(store, make):
    async with running(store) as writer:
        assert await writer.write(make.decision("d1")) == Committed(1, "d1")
        assert store.decision("d1") is not None
        assert await writer.write(make.feedback("f1")) == Committed(2, "f1")
        assert await writer.write(make.feedback("f2")) == Committed(2, "f1", repeated=True)


async def test_what_queues_up_behind_a_commit_becomes_one_group(make):
    store = GatedStore()
    async with running(store) as writer:
        first = asyncio.create_task(writer.write(make.decision("d0")))
        await entered(store)
        rest = [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(1, 101)]
        await all_queued(writer, 101)
        store.gate.set()
        results = await asyncio.gather(first, *rest)
    assert store.groups == [1, 100]
    assert [r.seq for r in results] == list(range(1, 102))
    assert writer.waiting == 0


async def test_groups_are_bounded(make):
    store = GatedStore()
    async with running(store, max_group=30) as writer:
        first = asyncio.create_task(writer.write(make.decision("d0")))
        await entered(store)
        rest = [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(1, 101)]
        await all_queued(writer, 101)
        store.gate.set()
        await asyncio.gather(first, *rest)
    assert store.groups == [1, 30, 30, 30, 10]


async def test_what_nobody_waits_for_goes_with_the_next_or_alone_after_a_moment(make):
    store = GatedStore()
    store.gate.set()
    async with running(store, lazy_s=30.0) as writer:
        lazy = [writer.submit(make.decision(f"d{i}"), lazy=True) for i in range(3)]
        await asyncio.sleep(0.05)
        assert store.groups == []
        await writer.write(make.decision("d3"))
        assert store.groups == [4]
        assert [done.result().seq for done in lazy] == [1, 2, 3]
        last = writer.submit(make.decision("d4"), lazy=True)
    assert last.result().seq == 5, "a writer that closes commits what it has"
    async with running(store, lazy_s=0.01) as writer:
        assert (await writer.submit(make.decision("d5"), lazy=True)).seq == 6


async def test_lingering_waits_for_company(make, monkeypatch):
    store = GatedStore()
    store.gate.set()
    lingers, company = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        assert seconds == 1.0
        lingers.set()
        assert company.wait(60)

    monkeypatch.setattr("router.storage.writer.time", SimpleNamespace(sleep=sleep))
    async with running(store, linger_s=1.0) as writer:
        first = asyncio.create_task(writer.write(make.decision("d1")))
        assert await asyncio.to_thread(lingers.wait, 60)
        second = asyncio.create_task(writer.write(make.decision("d2")))
        await all_queued(writer, 2)
        company.set()
        await asyncio.gather(first, second)
    assert store.groups == [2]


async def test_a_full_queue_refuses_with_the_remedy_and_recovers(make):
    store = GatedStore()
    async with running(store, max_queue=3) as writer:
        accepted = [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(3)]
        await all_queued(writer, 3)
        with pytest.raises(Overloaded) as refused:
            await writer.write(make.decision("late"))
        assert refused.value.remedy
        assert refused.value.retry_after_s > 0
        store.gate.set()
        await asyncio.gather(*accepted)
        assert await writer.write(make.decision("late")) == Committed(4, "late")


async def test_a_refused_write_fails_alone(make):
    store = GatedStore()
    async with running(store) as writer:
        tasks = [asyncio.create_task(writer.write(r)) for r in (make.decision("d1"), make.outcome("none"), make.decision("d2"))]
        await all_queued(writer, 3)
        store.gate.set()
        first, refused, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, last) == (Committed(1, "d1"), Committed(2, "d2"))
    assert isinstance(refused, DecisionNotFound)


async def test_a_database_that_does_not_answer_fails_the_group_and_not_the_writer(make):
    store = FlakyStore()
    async with running(store) as writer:
        store.down = True
        failed = await asyncio.gather(*(writer.write(make.decision(f"d{i}")) for i in range(5)), return_exceptions=True)
        assert [type(f) for f in failed] == [StorageUnavailable] * 5
        assert len({id(f) for f in failed}) == 5
        assert {(f.message, f.remedy, type(f.__cause__)) for f in failed} == {("the database does not answer", "retry", OSError)}
        store.down = False
        assert await writer.write(make.decision("d9")) == Committed(1, "d9")


async def test_a_record_that_cannot_be_stored_fails_alone(store, make):
    async with running(store, linger_s=0.05) as writer:
        writes = [make.decision("d1"), make.decision("bad", propensity=0.1), make.decision("d2")]
        first, bad, last = await asyncio.gather(*(writer.write(w) for w in writes), return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert (first, last) == (Committed(1, "d1"), Committed(2, "d2"))


async def test_a_number_too_big_for_the_database_fails_alone(sql_store, make):
    async with running(sql_store, linger_s=0.05) as writer:
        await writer.write(make.decision("d1"))
        writes = [make.outcome("d1", input_tokens=2**70), make.decision("d2"), make.decision("d\ud800")]
        huge, fine, garbled = await asyncio.gather(*(writer.write(w) for w in writes), return_exceptions=True)
    assert isinstance(huge, OverflowError)
    assert fine == Committed(2, "d2")
    assert isinstance(garbled, UnicodeError)


async def test_a_caller_who_gives_up_breaks_nothing(make):
    store = GatedStore()
    async with running(store) as writer:
        tasks = [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(3)]
        await all_queued(writer, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        store.gate.set()
        first, given_up, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(given_up, asyncio.CancelledError)
        assert (first, last) == (Committed(1, "d0"), Committed(3, "d2"))
        assert store.decision("d1") is not None
        assert writer.waiting == 0


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "log-writer"}


async def test_closing_answers_everything_accepted_and_takes_nothing_more(make):
    store, others = GatedStore(), threads()
    async with running(store, max_group=10) as writer:
        tasks = [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(95)]
        await all_queued(writer, 95)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="starting or stopping"):
            await writer.write(make.decision("late"))
        assert not closing.done()
        store.gate.set()
        await closing
        assert all(task.done() for task in tasks)
        assert [task.result().seq for task in tasks] == list(range(1, 96))
        await writer.close()
    assert threads() <= others


async def test_a_writer_that_was_never_started_refuses_and_closes(make):
    writer = GroupCommitWriter(MemoryStore())
    with pytest.raises(StorageUnavailable):
        await writer.write(make.decision())
    await writer.close()


async def test_on_commit_hears_once_of_each_group_that_adds(make):
    heard: list[tuple[Group, str]] = []
    store = GatedStore()

    async with running(store, on_commit=lambda group: heard.append((group, threading.current_thread().name))) as writer:
        tasks = [asyncio.create_task(writer.write(make.decision("d0")))]
        await entered(store)
        tasks += [asyncio.create_task(writer.write(make.decision(f"d{i}"))) for i in range(1, 8)]
        await all_queued(writer, 8)
        store.gate.set()
        await asyncio.gather(*tasks)
        await writer.write(make.decision("d1"))
        await writer.write(make.outcome("d1"))
        with pytest.raises(DecisionNotFound):
            await writer.write(make.outcome("none"))
    here = threading.current_thread().name
    assert heard == [(Group(1, 1, evidence=False), here), (Group(2, 8, evidence=False), here), (Group(9, 9, evidence=True), here)]


async def test_many_writers_at_once_get_a_dense_log(sql_store, make):
    async def client(name: str) -> list[int]:
        return [(await writer.write(make.decision(f"{name}-{i}"))).seq for i in range(20)]

    async with running(sql_store) as writer:
        seqs = await asyncio.gather(*(client(f"c{n}") for n in range(25)))
    assert all(mine == sorted(mine) for mine in seqs)
    assert sorted(seq for mine in seqs for seq in mine) == list(range(1, 501))


def test_a_loop_that_ends_without_close_leaves_no_trace(make):
    store, others = GatedStore(), threads()

    async def abandon() -> None:
        writer = GroupCommitWriter(store)
        await writer.start()
        task = asyncio.create_task(writer.write(make.decision("d1")))
        await entered(store)
        task.cancel()

    asyncio.run(abandon())
    store.gate.set()
    for thread in threads() - others:
        thread.join(60)
        assert not thread.is_alive()
    assert store.decision("d1") is not None


async def test_what_one_turn_of_the_loop_hands_in_is_committed_together(make):
    store = GatedStore()
    store.gate.set()
    async with running(store) as writer:
        for i in range(20):
            await asyncio.gather(*[writer.submit(make.decision(f"d{i}-{k}")) for k in range(3)])
    assert store.groups == [3] * 20
