"""Writes to the log until it is killed, and prints each id once it was acknowledged. Run by test_durability."""

import asyncio
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from router.domain.decisions import Decision
from router.domain.events import Feedback, Outcome, Status
from router.storage.sql import SqlStore
from router.storage.writer import GroupCommitWriter


def decision(decision_id: str) -> Decision:
    return Decision(
        id=decision_id,
        at=1.0,
        task_type="quick_qa",
        features_schema=1,
        features=b"\x00" * 200,
        request={},
        eligible=("a/one",),
        propensities=(1.0,),
        model="a/one",
        propensity=1.0,
        confidence=1.0,
        reason="only one",
        policy="thompson",
        policy_version="1",
        policy_seq=0,
        catalog_version="1",
    )


async def client(writer: GroupCommitWriter, name: str) -> None:
    for i in itertools.count():
        at = f"{name}-{i}"
        for record in (decision(at), Outcome(at, Status.OK, 2.0), Feedback(f"f-{at}", at, "human", "overall", 0.5, 3.0)):
            done = await writer.write(record)
            sys.stdout.write(f"{type(record).__name__} {done.id} {done.seq}\n")
            sys.stdout.flush()


async def main(url: str, run: str) -> None:
    writer = GroupCommitWriter(SqlStore(url, "full"))
    await writer.start()
    await asyncio.gather(*(client(writer, f"{run}-{n}") for n in range(20)))


asyncio.run(main(sys.argv[1], sys.argv[2]))
