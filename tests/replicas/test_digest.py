"""Whoever asks a service for its digest, at whatever moment, gets that of the position that is told with it."""

import asyncio
import random

from learning.choice import Preference
from learning.features import encode, to_bytes
from learning.learner import Learner
from router.domain.evidence import fold
from router.services.training import TrainingService
from router.storage.memory import MemoryStore
from tests.storage.conftest import Records


def filled(n: int) -> MemoryStore:
    rng, store = random.Random(3), MemoryStore()
    for i in range(n):
        features = to_bytes(encode(rng.randrange(100, 9_000)))
        store.commit(
            [
                Records.decision(f"d{i}", features=features, features_schema=1, task_type=rng.choice(["code", "prose"])),
                Records.outcome(f"d{i}", latency_s=rng.uniform(0.2, 9.0)),
                Records.feedback(f"f{i}", f"d{i}", rng.random(), metric="quality"),
            ]
        )
    return store


async def test_a_digest_asked_for_in_the_middle_of_a_long_fold_is_that_of_its_position():
    store, told = filled(150), set()
    training = TrainingService(
        store, half_life_records=1e6, preference=Preference(1.0, 1.0, 1.0), policy=("thompson", "1"), clock=lambda: 0.0, leads=lambda: False
    )
    starting = asyncio.create_task(training.start())
    while not starting.done():
        told.add((training.seq, training.digest))
        await asyncio.sleep(0)
    await starting
    await training.close()
    learner, true = Learner(1e6), {}
    for event in store.read_log(0, 1000):
        fold(learner, event)
        learner.advance(event.seq)
        true[event.seq] = learner.digest()
    asked = {(seq, digest) for seq, digest in told if seq}
    assert len(asked) > 5, "there was a middle"
    assert asked <= true.items()
