"""Text counts where it has proven its worth, and nowhere else."""

import math
import random

import numpy as np
import pytest

from learning.choice import Estimates
from learning.features import encode, from_bytes, to_bytes
from learning.projection import DIMENSIONS, Projection, hashed
from learning.text import LOGGED, Foretold, TextEvidence, TextShift, Told, code_of, foretold_of, no_shift, text_of

MODELS, TYPES = ("a/one", "a/two", "a/three"), ("code", "prose")
HALF_LIFE = 24_000.0


def text(rng: np.random.Generator) -> bytes:
    return bytes([Projection.HASHED]) + rng.integers(-60, 61, DIMENSIONS).astype(np.int8).tobytes()


def lived(worth: float, labels: int = 1_500, seed: int = 3) -> tuple[TextEvidence, list[tuple[Foretold, str, str, int, float]]]:
    """Scores whose expectation moves with one coordinate of the text, up for one model and down for another, foretold as a service does."""
    rng = np.random.default_rng(seed)
    evidence, told = TextEvidence(HALF_LIFE), []
    for i in range(labels):
        said, m, t = text(rng), int(rng.integers(3)), int(rng.integers(2))
        z = np.frombuffer(said, np.int8, offset=1) / 32.0
        shift = evidence.belief(MODELS, TYPES).of(said, np.arange(3), t)
        foretold = shift.foretold(said, 0.6, m, MODELS[m])
        score = float(rng.random() < 0.6 + worth * (1, -1, 0)[m] * np.clip(z[4], -2, 2))
        told.append((foretold, MODELS[m], TYPES[t], 3 * i + 1, score))
        evidence.fold(*told[-1], 1.0)
    return evidence, told


def test_text_that_tells_models_apart_earns_its_place_and_says_the_right_thing() -> None:
    evidence, _ = lived(0.12)
    belief = evidence.belief(MODELS, (*TYPES, "unseen"))
    assert (belief.scale[:2] > 0.2).all()
    assert belief.scale[2:].tolist() == [0.0, 0.0]  # nothing is known of text there
    assert belief.own[0, 4] - belief.own[1, 4] == pytest.approx(0.24, abs=0.1)
    others = np.delete(belief.own[0] - belief.own[1], 4)
    assert np.abs(others).max() < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_text_that_says_nothing_stays_without_a_say(seed: int) -> None:
    evidence, _ = lived(0.0, 800, seed)
    assert not evidence.belief(MODELS, TYPES).scale.any()


def test_estimates_are_the_same_objects_until_text_has_a_say() -> None:
    estimates = Estimates(*(np.full(2, 0.5) for _ in Estimates.__slots__))
    assert no_shift(2).applied(estimates) is estimates
    assert TextShift(0.3, np.array([0.1, -0.1]), 0.0).applied(estimates) is estimates
    moved = TextShift(0.3, np.array([0.1, -0.1]), 0.5).applied(estimates)
    assert moved.quality.tolist() == [0.55, 0.45]
    assert moved.cost is estimates.cost


def test_what_is_taken_back_is_as_if_it_had_never_been() -> None:
    evidence, told = lived(0.12, 300)
    for one in told[::-1]:
        evidence.fold(*one, -1.0)
    _, arrays = evidence.saved("")
    for name, values in arrays.items():
        if not name.startswith("fit."):
            np.testing.assert_allclose(values, 0.0, atol=1e-9)
    for _ in range(40):  # and fitted once more, nothing has a say
        evidence.fold(*told[0], 0.0)
    assert not evidence.belief(MODELS, TYPES).scale.any()


def test_the_same_log_gives_the_same_digest_and_a_snapshot_goes_on_as_the_original() -> None:
    (one, told), (two, _) = lived(0.1, 250), lived(0.1, 250)
    assert one.digest() == two.digest()
    header, arrays = one.saved("x.")
    three = TextEvidence.restore(HALF_LIFE, header, {name: values.copy() for name, values in arrays.items()}, "x.")
    assert three.digest() == one.digest()
    for each in (one, three):
        for item in told[:30]:
            each.fold(*item, 1.0)
    assert three.digest() == one.digest() != two.digest()
    np.testing.assert_array_equal(three.belief(MODELS, TYPES).own, one.belief(MODELS, TYPES).own)


def test_what_was_foretold_of_another_model_than_the_one_that_served_says_nothing() -> None:
    evidence, told = lived(0.1, 10)
    before = evidence.digest()
    foretold, _, task_type, clock, score = told[0]
    evidence.fold(foretold, "a/somebody", task_type, clock, score, 1.0)
    assert evidence.digest() == before


def test_evidence_fades_with_the_log_and_survives_a_long_one() -> None:
    evidence, told = lived(0.12, 400)
    foretold, model, task_type, _, score = told[0]
    evidence.fold(foretold, model, task_type, round(100 * HALF_LIFE), score, 1.0)
    _, arrays = evidence.saved("")
    assert arrays["count"].sum() == pytest.approx(1.0)
    assert all(np.isfinite(values).all() for values in arrays.values())


def test_what_is_logged_stands_behind_the_features_and_is_read_back() -> None:
    features, said = encode(900), text(np.random.default_rng(1))
    foretold = TextShift(0.125, np.array([0.5, -0.25]), 1.0).foretold(said, 0.75, 1, "a/two")
    raw = to_bytes(features) + foretold.to_bytes()
    assert len(raw) == len(to_bytes(features)) + LOGGED
    np.testing.assert_array_equal(from_bytes(raw, 1), features)
    assert (foretold_of(raw), text_of(raw)) == (foretold, said)
    assert (foretold_of(to_bytes(features)), text_of(to_bytes(features))) == (None, None)
    assert math.isfinite(foretold.model)


@pytest.mark.parametrize("half_life", [5.0, 1e6], ids=["anchored anew", "anchored once"])
def test_many_scores_at_once_leave_the_same_bits_as_one_by_one(half_life: float) -> None:
    rng = random.Random(4)
    told: list[Told] = []
    for n in range(700):
        model, task_type = f"m{min(n // 150, rng.randrange(5))}", f"t{min(n // 300, rng.randrange(3))}"
        foretold = Foretold(hashed(rng.choice("abcdefgh") * 3), rng.random(), rng.gauss(0, 0.1), rng.gauss(0, 0.1), code_of(model))
        served = model if rng.random() < 0.9 else "another"
        told.append((foretold, served, task_type, n - rng.randrange(30), rng.random(), rng.choice([1.0, 0.5])))
        if rng.random() < 0.1:  # taken back
            told.append((*told[-1][:5], -told[-1][5]))
    single, whole = TextEvidence(half_life), TextEvidence(half_life)
    for one in told:
        single.fold(*one)
    for first in range(0, len(told), 333):
        whole.fold_all(told[first : first + 333])
    assert single.total > 500
    assert (single.anchor > 0) == (half_life == 5.0)
    assert whole.digest() == single.digest()
