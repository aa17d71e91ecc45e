"""Text counts where it has proven its worth, and nowhere else."""

import hashlib
import json
import math
import random
import struct
from dataclasses import replace

import numpy as np
import pytest

from learning import state
from learning.choice import Estimates
from learning.errors import IncompatibleState
from learning.features import encode, from_bytes, to_bytes
from learning.foretold import LOGGED, Foretold, code_of, foretold_of, text_of
from learning.learner import Learner
from learning.projection import DIMENSIONS, Projection, hashed
from learning.text import TextEvidence, TextScore, TextShift, no_shift
from learning.voices import PLAIN, Score, Verdict, Voice

MODELS, TYPES = ("a/one", "a/two", "a/three"), ("code", "prose")
HALF_LIFE = 24_000.0


def text(rng: np.random.Generator) -> bytes:
    return bytes([Projection.HASHED]) + rng.integers(-60, 61, DIMENSIONS).astype(np.int8).tobytes()


def lived(worth: float, labels: int = 1_500, seed: int = 3) -> tuple[TextEvidence, list[TextScore]]:
    """Scores whose expectation moves with one coordinate of the text, up for one model and down for another, foretold as a service does."""
    rng = np.random.default_rng(seed)
    evidence, told = TextEvidence(HALF_LIFE), []
    for i in range(labels):
        said, m, t = text(rng), int(rng.integers(3)), int(rng.integers(2))
        z = np.frombuffer(said, np.int8, offset=1) / 32.0
        shift = evidence.belief(MODELS, TYPES).of(said, np.arange(3), t)
        foretold = shift.foretold(said, 0.6, m, MODELS[m])
        score = float(rng.random() < 0.6 + worth * (1, -1, 0)[m] * np.clip(z[4], -2, 2))
        told.append(TextScore(foretold, MODELS[m], TYPES[t], 3 * i + 1, score, 1.0))
        evidence.fold(told[-1])
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
        evidence.fold(replace(one, weight=-1.0))
    _, arrays = evidence.saved("")
    for name, values in arrays.items():
        if not name.startswith("fit."):
            np.testing.assert_allclose(values, 0.0, atol=1e-9)
    for _ in range(40):  # and fitted once more, nothing has a say
        evidence.fold(replace(told[0], weight=0.0))
    assert not evidence.belief(MODELS, TYPES).scale.any()


def test_the_same_log_gives_the_same_digest_and_a_snapshot_goes_on_as_the_original() -> None:
    (one, told), (two, _) = lived(0.1, 250), lived(0.1, 250)
    assert one.digest() == two.digest()
    header, arrays = one.saved("x.")
    three = TextEvidence.restore(HALF_LIFE, header, {name: values.copy() for name, values in arrays.items()}, "x.")
    assert three.digest() == one.digest()
    for each in (one, three):
        for item in told[:30]:
            each.fold(item)
    assert three.digest() == one.digest() != two.digest()
    np.testing.assert_array_equal(three.belief(MODELS, TYPES).own, one.belief(MODELS, TYPES).own)


def test_what_was_foretold_of_another_model_than_the_one_that_served_says_nothing() -> None:
    evidence, told = lived(0.1, 10)
    before = evidence.digest()
    evidence.fold(replace(told[0], model="a/somebody"))
    assert evidence.digest() == before


def test_evidence_fades_with_the_log_and_survives_a_long_one() -> None:
    evidence, told = lived(0.12, 400)
    evidence.fold(replace(told[0], clock=round(100 * HALF_LIFE)))
    _, arrays = evidence.saved("")
    assert arrays["said.0.count"][:, :, 0].sum() == pytest.approx(1.0)
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
    told: list[TextScore] = []
    for n in range(700):
        model, task_type = f"m{min(n // 150, rng.randrange(5))}", f"t{min(n // 300, rng.randrange(3))}"
        foretold = Foretold(hashed(rng.choice("abcdefgh") * 3), rng.random(), rng.gauss(0, 0.1), rng.gauss(0, 0.1), code_of(model))
        served = model if rng.random() < 0.9 else "another"
        voice = rng.choice([PLAIN, Voice("llm", "k1"), Voice("llm", "k2")])
        told.append(TextScore(foretold, served, task_type, n - rng.randrange(30), rng.random(), rng.choice([1.0, 0.5]), voice))
        if rng.random() < 0.1:  # taken back
            told.append(replace(told[-1], weight=-told[-1].weight))
    single, whole = TextEvidence(half_life), TextEvidence(half_life)
    for one in told:
        single.fold(one)
    for first in range(0, len(told), 333):
        whole.fold_all(told[first : first + 333])
    assert single.total > 500
    assert (single.anchor > 0) == (half_life == 5.0)
    assert whole.digest() == single.digest()


def judged(seed: int, worth: float, others: str, heard: bool) -> Learner:
    """Three models scored by honest sources and by somebody else, who says the opposite of what the text tells, or is of another judge.

    ``heard``: everybody is taken at their word, as one voice.
    """
    rng = np.random.default_rng(seed)
    learner = Learner(HALF_LIFE, trusted=("human",))
    for i in range(2_400):
        said, m, t = text(rng), int(rng.integers(3)), int(rng.integers(2))
        z = np.frombuffer(said, np.int8, offset=1) / 32.0
        z4 = float(np.clip(z[4], -2, 2))
        belief = learner.texts[1].belief(MODELS, TYPES) if learner.texts else None
        shift = no_shift(3) if belief is None else belief.of(said, np.arange(3), t)
        foretold = shift.foretold(said, 0.6, m, MODELS[m])
        good = float(rng.random() < 0.6 + worth * (1, -1, 0)[m] * z4)
        if others == "liar":
            lies = i % 5 < 2
            lie = float(rng.random() < (0.05, 0.95, 0.5)[m] - worth * (1, -1, 0)[m] * z4)
            scores = [Score("human", "liar" if lies else f"honest {i % 5}", lie if lies else good)]
        else:
            taste = float(np.clip(0.5 + 0.2 * (-1, 1, 0)[m] * z4, 0, 1))  # likes in texts what is no quality, and says little of that
            scores = [Score("llm", None, taste)] if i % 4 else [Score("human", None, good), Score("llm", None, taste)]
        if heard:
            scores = [Score("", None, s.value, s.weight) for s in (scores if others == "liar" else scores[:1])]
        verdict = Verdict(MODELS[m], TYPES[t], encode(900), 3 * i + 1, (), scores, foretold)
        learner.fold_verdict(verdict)
        learner.advance(3 * i + 3)
    return learner


def told_apart(learner: Learner) -> float:
    """What the text's telling coordinate is taken to mean for the first model against the second; in truth 0.24."""
    own = learner.texts[1].belief(MODELS, TYPES).own
    return float(own[0, 4] - own[1, 4])


def test_a_liar_is_not_believed_about_texts_either() -> None:
    unfiltered, filtered = (told_apart(judged(1, 0.12, "liar", heard)) for heard in (True, False))
    assert unfiltered < 0.11
    assert filtered > 0.14


def test_a_judge_with_a_taste_of_its_own_counts_about_texts_as_little_as_it_has_proved_worth() -> None:
    unfiltered, filtered = (told_apart(judged(1, 0.12, "judge", heard)) for heard in (True, False))
    assert unfiltered < -0.1
    assert filtered > 0.05


def test_what_a_liar_said_can_be_taken_back_to_the_last_bit_of_what_others_say() -> None:
    learner = judged(1, 0.12, "liar", heard=False)
    texts = learner.texts[1]
    sums = {voice.source: said for voice, said in texts._said.items()}
    assert set(sums) == {"liar", "honest 2", "honest 3", "honest 4"}
    before = {name: values.tobytes() for name, values in vars(sums["honest 2"]).items()}
    foretold = Foretold(text(np.random.default_rng(1)), 0.6, 0.0, 0.1, code_of(MODELS[0]))
    score = TextScore(foretold, MODELS[0], TYPES[0], 7_000, 1.0, 1.0, Voice("human", "liar"))
    learner.fold_texts([score, replace(score, weight=-1.0)])
    assert {name: values.tobytes() for name, values in vars(sums["honest 2"]).items()} == before


def test_a_snapshot_of_texts_by_no_voice_is_of_another_release() -> None:
    learner = judged(1, 0.0, "liar", heard=True)
    blob = state.save(learner)
    (length,) = struct.unpack_from("<I", blob, 24)
    header = json.loads(blob[28 : 28 + length])
    del header["texts"]["1"]["voices"]
    told = json.dumps(header, separators=(",", ":")).encode()
    body = struct.pack("<I", len(told)) + told + blob[28 + length :]
    with pytest.raises(IncompatibleState, match="rebuild the state from the log"):
        state.load(blob[:8] + hashlib.blake2b(body, digest_size=16).digest() + body, {})


def test_however_many_sources_there_are_the_sums_of_texts_are_kept_for_as_many_voices_as_those_of_scores() -> None:
    learner, rng = Learner(HALF_LIFE), np.random.default_rng(1)
    for i in range(120):
        foretold = Foretold(text(rng), 0.6, 0.0, 0.1, code_of(MODELS[0]))
        learner.fold_verdict(Verdict(MODELS[0], TYPES[0], encode(900), i + 1, (), [Score("human", f"key {i}", float(i % 2))], foretold))
    assert learner.texts[1].voices == learner.statistics.voices.names
    assert len(learner.texts[1].voices) < 60
