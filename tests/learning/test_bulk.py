"""A stretch of the log folded at once: the same learner as its items one by one, bit for bit, wherever it is divided."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import state
from learning.block import AGREEMENT, CALL, COLUMNS, Block
from learning.bulk import Beside, fold_block
from learning.drift import Watch, Watched
from learning.errors import InvalidContext
from learning.facts import ArmFacts
from learning.features import N_FEATURES, encode
from learning.foretold import Foretold, code_of
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.projection import hashed
from learning.targets import Target
from learning.text import TextScore
from learning.voices import PLAIN, Agreement, Voice
from tests.learning.test_state import identical

Item = Observation | Call | Agreement | TextScore
FACTS = {"a/0": ArmFacts(0.1, 0.8), "a/1": ArmFacts(9.0, None), "a/9": ArmFacts()}
TOUCHY = {
    Target.QUALITY: Watched(40.0, 0.1, 32),
    Target.OUTPUT_TOKENS: Watched(200.0, 0.25, 12),
    Target.LATENCY: Watched(200.0, 0.5, 12),
}
"""Thresholds that random values pass now and then."""


def folded(learner: Learner, items: Sequence[Item]) -> None:
    """Fold evidence that is there one by one at once."""
    others: list[Observation | Call | Agreement] = []
    texts: list[tuple[int, TextScore]] = []
    for item in items:
        if isinstance(item, TextScore):
            texts.append((len(others), item))
        else:
            others.append(item)
    fold_block(learner, block_of(others), Beside(learner, texts))


def block_of(items: Sequence[Observation | Call | Agreement]) -> Block:
    """Evidence that is there one by one, as columns."""
    models: dict[str, int] = {}
    tasks: dict[str, int] = {}
    voices: dict[Voice, int] = {}
    features: list[np.ndarray] = []
    agreements: list[Agreement] = []
    rows: list[tuple[int, int, int, int, int, int, float, float, bool]] = []
    for item in items:
        model = models.setdefault(item.model, len(models))
        if isinstance(item, Call):
            rows.append((CALL, model, 0, 0, 0, item.clock, float(item.failed), 1.0, False))
        elif isinstance(item, Agreement):
            rows.append((AGREEMENT, model, 0, 0, len(agreements), item.clock, item.score, item.weight, False))
            agreements.append(item)
        else:
            task, voice = tasks.setdefault(item.task_type, len(tasks)), voices.setdefault(item.voice, len(voices))
            rows.append((int(item.target), model, task, voice, len(features), item.clock, item.value, item.weight, item.correction))
            features.append(item.features)
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    told: dict[str, Any] = {name: np.array(column, dtype=kind) for (name, kind), column in zip(COLUMNS.items(), columns, strict=True)}
    known = np.array(features, dtype=np.float64).reshape(len(features), N_FEATURES)
    return Block(list(models), list(tasks), list(voices), **told, features=known, agreements=agreements)


@dataclass(frozen=True)
class World:
    """What a random log is made of."""

    seed: int
    decisions: int
    models: int
    types: int
    voices: int
    half_life: float
    changes: bool
    corrections: float
    late: int
    """Log positions that feedback comes later, at most."""
    texts: bool = False


worlds = st.builds(
    World,
    seed=st.integers(0, 10**6),
    decisions=st.sampled_from([120, 500, 1_200]),
    models=st.integers(1, 4),
    types=st.integers(1, 3),
    voices=st.sampled_from([1, 1, 2, 5]),
    half_life=st.sampled_from([150.0, 1_500.0, 24_000.0]),
    changes=st.booleans(),
    corrections=st.sampled_from([0.0, 0.1]),
    late=st.sampled_from([0, 5, 400]),
    texts=st.booleans(),
)


def log_of(world: World) -> list[Item]:
    """Outcomes with scores of several judges; a change half-way; late, corrected and retracted scores; corrected costs; new names."""
    rng = random.Random(world.seed)
    voices = [PLAIN, Voice("llm", "k1"), Voice("human"), Voice("llm", "k2"), Voice("code@1", "k3")][: world.voices]
    timed: list[tuple[float, Item]] = []
    for n in range(world.decisions):
        clock, grown = 1 + 3 * n, world.models + (n > world.decisions * 0.7)
        model, task_type = f"a/{min(int(rng.expovariate(0.7)), grown - 1)}", f"t{rng.randrange(world.types)}"
        x = encode(rng.choice([200, 4_000, 50_000]), expected_output_tokens=rng.choice([None, 900]), needs_tools=rng.random() < 0.2)
        shift = 1.0 if world.changes and n > world.decisions // 2 and model == "a/0" else 0.0
        failed = rng.random() < 0.05
        timed.append((clock + 1, Call(model, failed, clock)))
        if failed:
            continue
        for target, value in (
            (Target.OUTPUT_TOKENS, rng.gauss(5 + shift, 0.5)),
            (Target.LATENCY, rng.gauss(1 - shift, 0.4)),
            (Target.COST, rng.gauss(-6, 1)),
        ):
            if rng.random() < 0.97:
                timed.append((clock + 1, Observation(target, model, task_type, x, value, clock)))
        if rng.random() < world.corrections:
            undone = Observation(Target.COST, model, task_type, x, -6.5, clock, -1.0, correction=True)
            timed += [(clock + 40, undone), (clock + 40, replace(undone, value=-5.5, weight=1.0))]
        for voice in rng.sample(voices, rng.randint(0, len(voices))):
            good = rng.random() < 0.8 - 0.5 * shift
            value = float(good) if voice.judge in ("", "human") else rng.betavariate(6, 2 + 4 * shift)
            weight = rng.choice([1.0, 1.0, 0.5, 1 / 3])
            given = clock + 2 + rng.randint(0, world.late)
            score = Observation(Target.QUALITY, model, task_type, x, value, clock, weight, voice=voice)
            timed.append((given, score))
            foretold = Foretold(hashed(rng.choice("abcdefgh") * 3), rng.random(), rng.gauss(0, 0.1), rng.gauss(0, 0.1), code_of(model))
            read = TextScore(foretold, model, task_type, clock, value, weight, voice)
            if world.texts and rng.random() < 0.8:
                timed.append((given, read))
            if voice.judge == "llm" and rng.random() < 0.5:
                timed.append((given, Agreement("llm", model, value, float(good), clock)))
            if rng.random() < world.corrections:
                timed.append((given + 30, replace(score, weight=-weight, correction=True)))
                if world.texts:
                    timed.append((given + 30, replace(read, weight=-weight)))
                if rng.random() < 0.5:
                    timed.append((given + 30, replace(score, value=1.0 - value, correction=True)))
    return [item for _, item in sorted(timed, key=lambda pair: pair[0])]


def learner_of(world: World) -> Learner:
    learner = Learner(world.half_life, watch=Watch(TOUCHY), trusted=["human"])
    learner.register(FACTS, arriving=False)
    return learner


def one_by_one(world: World, log: Sequence[Item]) -> Learner:
    learner = learner_of(world)
    for item in log:
        learner.fold_item(item)
    return learner


def same(one: Learner, other: Learner) -> None:
    for learner in (one, other):
        learner.advance(10**6)
    assert one.digest() == other.digest()
    assert state.save(one) == state.save(other)
    identical(one.posterior(), other.posterior())


@settings(deadline=None, derandomize=True, max_examples=30)
@given(world=worlds, data=st.data())
def test_however_a_log_is_divided_and_saved_between_the_learner_is_the_same(world: World, data: st.DataObject) -> None:
    log = log_of(world)
    ends = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3)))
    learner = learner_of(world)
    for first, end in zip([0, *ends], [*ends, len(log)], strict=True):
        if data.draw(st.booleans()):
            learner = state.load(state.save(learner), FACTS)
            learner.watch.watched = TOUCHY
        folded(learner, log[first:end])
    same(one_by_one(world, log), learner)


def test_the_random_logs_hold_what_they_should() -> None:
    """Alarms of cells and of models, several voices, names that come late, sums that are anchored anew: else the test above says little."""
    worlds = (BUSY, replace(BUSY, types=1), replace(BUSY, voices=5, half_life=150.0, texts=True))
    learners = [one_by_one(world, log_of(world)) for world in worlds]
    assert {incident.task_type is None for learner in learners for incident in learner.incidents} == {True, False}
    assert len(learners[2].statistics.voices.names) == 5
    heard = [learners[2].statistics.heard(voice, learners[2].texts[1].models) for voice in learners[2].texts[1].voices]
    assert len({(*h.offset, h.slope, *h.omega) for h in heard}) == 5, "each counts for another worth, in what texts tell too"
    assert learners[2].statistics.anchor > 0


BUSY = World(seed=11, decisions=1_200, models=4, types=2, voices=1, half_life=24_000.0, changes=True, corrections=0.1, late=400)


@pytest.mark.parametrize("wrong", [{"value": float("nan")}, {"weight": float("inf")}, {"features": np.full(10, 1e9)}])
def test_an_item_that_cannot_be_folded_is_refused_and_what_comes_before_is_folded(wrong: dict[str, object]) -> None:
    log = log_of(replace(BUSY, decisions=200))
    at = next(i for i in range(500, len(log)) if isinstance(log[i], Observation))
    log[at] = replace(log[at], **wrong)
    learner, single = learner_of(BUSY), one_by_one(BUSY, log[:at])
    with pytest.raises(InvalidContext):
        single.fold_item(log[at])
    with pytest.raises(InvalidContext):
        fold_block(learner, block_of(log))
    same(single, learner)


def test_alarms_at_every_turn_are_answered_where_they_are() -> None:
    """Thresholds so low that a stretch hardly ever comes to its end."""
    log, watched = log_of(BUSY), {target: replace(watch, threshold=4.0) for target, watch in TOUCHY.items()}
    single, whole = Learner(1_500.0, watch=Watch(watched)), Learner(1_500.0, watch=Watch(watched))
    for item in log:
        single.fold_item(item)
    fold_block(whole, block_of(log))
    assert sum(incident.alarms for incident in single.incidents) > 8
    same(single, whole)
