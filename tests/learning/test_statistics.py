"""The evidence is a sum: order, partitions, retractions and time of arrival leave no trace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.errors import InvalidContext
from learning.features import N_FEATURES, encode
from learning.observations import Call, Observation
from learning.statistics import Statistics
from learning.targets import Target

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)


@PROPERTY
@given(data=st.data())
def test_any_order_gives_the_same_sums(logs, data) -> None:
    log = data.draw(logs.any)
    shuffled = data.draw(st.permutations(log))
    logs.same(logs.sums(logs.fold(log)), logs.sums(logs.fold(shuffled)))


@PROPERTY
@given(data=st.data())
def test_folding_parts_and_merging_equals_one_fold(logs, data) -> None:
    log = data.draw(logs.any)
    parts = [Statistics(logs.HALF_LIFE) for _ in range(3)]
    for item in log:
        part = parts[data.draw(st.integers(0, 2))]
        if isinstance(item, Call):
            part.add_call(item)
        else:
            part.add(item)
    whole = Statistics(logs.HALF_LIFE)
    for i in data.draw(st.permutations(range(3))):
        whole.merge(parts[i])
    logs.same(logs.sums(logs.fold(log)), logs.sums(whole))
    assert whole.folded == sum(isinstance(item, Observation) for item in log)


@PROPERTY
@given(data=st.data())
def test_what_was_retracted_was_never_there(logs, data) -> None:
    kept, wrong = data.draw(logs.observations), data.draw(logs.observations)
    log = data.draw(st.permutations(kept + wrong + [replace(o, weight=-o.weight) for o in wrong]))
    with_detour, now = logs.fold(log), max(o.clock for o in kept + wrong)
    logs.same(logs.sums(logs.fold(kept), now), logs.sums(with_detour, now))


@PROPERTY
@given(data=st.data())
def test_a_correction_equals_the_right_score_from_the_start(logs, data) -> None:
    log, score = data.draw(logs.observations), data.draw(st.floats(0.0, 1.0))
    right = replace(log[0], value=score)
    corrected = logs.fold([*log, replace(log[0], weight=-log[0].weight), right])
    logs.same(logs.sums(logs.fold([right, *log[1:]])), logs.sums(corrected))


@PROPERTY
@given(data=st.data())
def test_no_weight_adds_nothing_and_double_weight_counts_twice(logs, data) -> None:
    log = data.draw(logs.observations)
    nothing = [*log, replace(log[0], weight=0.0)]
    logs.same(logs.sums(logs.fold(log)), logs.sums(logs.fold(nothing)), tolerance=0.0)
    logs.same(logs.sums(logs.fold([*log, log[0]])), logs.sums(logs.fold([*log[1:], replace(log[0], weight=2 * log[0].weight)])))


@PROPERTY
@given(data=st.data())
def test_late_evidence_weighs_what_it_would_have_weighed_on_time(logs, data) -> None:
    log = sorted(data.draw(logs.observations), key=lambda o: o.clock)
    late = data.draw(st.integers(0, len(log) - 1))
    logs.same(logs.sums(logs.fold(log)), logs.sums(logs.fold([*log[:late], *log[late + 1 :], log[late]])))


@PROPERTY
@given(first=st.integers(1, 20_000), second=st.integers(1, 20_000), target=st.sampled_from(Target))
def test_forgetting_in_two_steps_equals_forgetting_in_one(first: int, second: int, target: Target) -> None:
    decays = []
    for now in (first, second, first + second):
        statistics = Statistics(5_000.0)
        statistics.now = now
        decays.append(statistics.decay(target))
    assert decays[0] * decays[1] == pytest.approx(decays[2], rel=1e-12)
    assert 0.0 < decays[2] < 1.0


def test_a_score_counts_half_after_a_half_life_of_records(logs) -> None:
    x = encode(1000)
    statistics = logs.fold([Observation(Target.QUALITY, "m", "t", x, 1.0, 100)], half_life=1_000.0)
    statistics.add(Observation(Target.QUALITY, "other", "t", x, 1.0, 1_100))
    assert statistics.decay(Target.QUALITY) * statistics.gram[Target.QUALITY, 0, 0, 0] == pytest.approx(0.5)


def test_latency_and_tokens_are_forgotten_sooner_than_quality() -> None:
    statistics = Statistics(1_000.0)
    statistics.now = 100
    assert statistics.decay(Target.LATENCY) < statistics.decay(Target.OUTPUT_TOKENS) < statistics.decay(Target.QUALITY)


@PROPERTY
@given(data=st.data(), jump=st.integers(6_500, 9_000))
def test_moving_the_anchor_changes_no_sum(logs, data, jump: int) -> None:
    """A far later record re-anchors the sums; seen from there, both are equal."""
    log = data.draw(logs.any)
    far = Observation(Target.QUALITY, "z/last", "far", encode(1), 0.5, jump)
    moved, plain = logs.fold([*log, far]), logs.fold(log)
    assert moved.anchor > plain.anchor
    logs.same(logs.sums(plain, jump), logs.sums(moved, jump) | {k: v * 0 for k, v in logs.sums(logs.fold([far])).items()})


@PROPERTY
@given(data=st.data())
def test_the_digest_follows_the_content(logs, data) -> None:
    log = data.draw(logs.any)
    assert logs.fold(log).digest() == logs.fold(log).digest()
    changed = logs.fold([*log, Observation(Target.QUALITY, "a/one", "summarization", encode(1000), 0.25, 1)])
    assert changed.digest() != logs.fold(log).digest()


def test_the_digest_ignores_models_without_evidence(logs) -> None:
    log = [Observation(Target.QUALITY, "m", "t", encode(1000), 1.0, 1)]
    bare, registered = logs.fold(log), logs.fold(log)
    registered.model_index("never/called")
    assert bare.digest() == registered.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"weight": float("nan")},
        {"features": np.full(N_FEATURES, np.nan)},
        {"features": np.full(N_FEATURES, 11.0)},
        {"features": np.ones(N_FEATURES + 1)},
    ],
)
def test_what_is_not_finite_or_out_of_range_is_refused_and_changes_nothing(logs, change) -> None:
    good = Observation(Target.QUALITY, "m", "t", encode(1000), 1.0, 1)
    statistics = logs.fold([good])
    before = statistics.digest()
    with pytest.raises(InvalidContext):
        statistics.add(replace(good, **change))
    assert statistics.digest() == before


@pytest.mark.parametrize("half_life", [0.0, -1.0, float("nan"), float("inf")])
def test_a_half_life_is_a_positive_number(half_life: float) -> None:
    with pytest.raises(InvalidContext, match="half_life"):
        Statistics(half_life)


def test_folds_with_different_half_lives_do_not_merge() -> None:
    with pytest.raises(InvalidContext, match="half-lives differ"):
        Statistics(100.0).merge(Statistics(200.0))
