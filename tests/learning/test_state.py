"""Snapshots: bytes in, the same learner out, and nothing that is damaged."""

import hashlib
import json
import struct
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import state
from learning.errors import IncompatibleState
from learning.facts import ArmFacts
from learning.features import encode
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.posterior import Posterior
from learning.targets import Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
FACTS = {"a/one": ArmFacts(0.1, 0.8), "b/two": ArmFacts(9.0, None), "c/three": ArmFacts()}


def fold(learner: Learner, items) -> Learner:
    for item in items:
        if isinstance(item, Call):
            learner.fold_call(item)
        else:
            learner.fold(item)
    return learner


def fresh() -> Learner:
    learner = Learner(700.0)
    learner.register(FACTS)
    return learner


def identical(one: Posterior, other: Posterior) -> None:
    """Every array, bit for bit."""
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "targets":
            for target, a, b in zip(Target, left, right, strict=True):
                for inner in fields(a):
                    np.testing.assert_array_equal(
                        getattr(a, inner.name), getattr(b, inner.name), err_msg=f"{target.name}.{inner.name}", strict=True
                    )
        elif field.name == "texts":
            assert left.keys() == right.keys()
            for kind, belief in left.items():
                for inner in fields(belief):
                    a, b = getattr(belief, inner.name), getattr(right[kind], inner.name)
                    np.testing.assert_array_equal(a, b, err_msg=f"text {inner.name}", strict=True)
        elif isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, err_msg=field.name, strict=True)
        else:
            assert left == right, field.name


@PROPERTY
@given(data=st.data())
def test_saving_what_was_loaded_gives_the_same_bytes(logs, data) -> None:
    learner = fold(fresh(), data.draw(logs.any))
    learner.advance(5_001)
    blob = state.save(learner)
    restored = state.load(blob, FACTS)
    assert state.save(restored) == blob
    assert restored.digest() == learner.digest()


@PROPERTY
@given(data=st.data())
def test_a_restored_learner_publishes_the_same_posterior_bit_for_bit(logs, data) -> None:
    learner = fold(fresh(), data.draw(logs.any))
    learner.advance(5_001)
    identical(learner.posterior(), state.load(state.save(learner), FACTS).posterior())


@PROPERTY
@given(data=st.data())
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(logs, data) -> None:
    learner = fold(fresh(), data.draw(logs.any))
    restored = state.load(state.save(learner), FACTS)
    after = data.draw(logs.any)
    for one in (learner, restored):
        fold(one, after).advance(6_000)
    assert restored.digest() == learner.digest()
    assert state.save(restored) == state.save(learner)
    identical(learner.posterior(), restored.posterior())


def test_an_untouched_learner_survives_too() -> None:
    restored = state.load(state.save(Learner()), {})
    assert restored.posterior().models == ()
    assert restored.seq == 0


def test_facts_of_today_apply_to_yesterdays_evidence() -> None:
    learner = fold(fresh(), [Observation(Target.QUALITY, "a/one", "code", encode(1000), 1.0, 1)])
    restored = state.load(state.save(learner), {**FACTS, "d/new": ArmFacts(1.0, 1.0)})
    assert "d/new" in restored.posterior().models
    assert restored.posterior().scores(restored.posterior().task("code")).sum() == 1.0


@pytest.fixture(scope="module")
def blob() -> bytes:
    observations = [Observation(Target.QUALITY, m, "code", encode(1000), 0.5, i) for i in range(20) for m in FACTS]
    return state.save(fold(fresh(), observations))


@PROPERTY
@given(data=st.data())
def test_a_damaged_snapshot_is_refused(blob: bytes, data) -> None:
    at = data.draw(st.integers(0, len(blob) - 1))
    damaged = bytearray(blob)
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IncompatibleState, match="rebuild the state from the log"):
        state.load(bytes(damaged), FACTS)


@PROPERTY
@given(data=st.data())
def test_a_truncated_snapshot_is_refused(blob: bytes, data) -> None:
    with pytest.raises(IncompatibleState):
        state.load(blob[: data.draw(st.integers(0, len(blob) - 1))], FACTS)


def test_another_feature_schema_is_refused(blob: bytes) -> None:
    body = blob[24:]
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    header["schema"] += 1
    text = json.dumps(header, separators=(",", ":")).encode()
    body = struct.pack("<I", len(text)) + text + body[4 + length :]
    with pytest.raises(IncompatibleState, match="feature schema"):
        state.load(blob[:8] + hashlib.blake2b(body, digest_size=16).digest() + body, FACTS)
