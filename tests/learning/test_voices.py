"""Judges and sources are weighed by what they proved worth; taking a score back leaves no trace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import state
from learning.facts import ArmFacts
from learning.features import encode
from learning.learner import Learner
from learning.targets import Target
from learning.voices import PLAIN, Score, Verdict, Voice, Voices

MODELS = ("a", "b", "c", "d")
TYPES = ("code", "math")
X = encode(1_000)
TRUTH = {"a": 0.85, "b": 0.70, "c": 0.55, "d": 0.40}


def learner(trusted: tuple[str, ...] = ("human",)) -> Learner:
    made = Learner(1e9, trusted=trusted)
    made.register({m: ArmFacts(1.0) for m in MODELS})
    return made


def verdict(model: str, clock: int, *scores: Score, task_type: str = "code", before: tuple[Score, ...] = ()) -> Verdict:
    return Verdict(model, task_type, X, clock, before, scores)


def quality(learned: Learner, task_type: str = "code") -> dict[str, float]:
    posterior = learned.posterior()
    mean, _ = posterior.predict(Target.QUALITY, posterior.task(task_type), X)
    return {m: float(mean[posterior.model_index[m]]) for m in MODELS}


def answers(rng: np.random.Generator, n: int) -> list[tuple[str, str, float]]:
    """Model, task type and whether the answer was right."""
    models, types = rng.choice(MODELS, n), rng.choice(TYPES, n)
    return [(m, t, float(rng.random() < TRUTH[m])) for m, t in zip(models.tolist(), types.tolist(), strict=True)]


def test_one_voice_is_taken_at_its_word() -> None:
    heard, plain = learner(), learner()
    for i, (model, task_type, right) in enumerate(answers(np.random.default_rng(1), 400)):
        heard.fold_verdict(verdict(model, i, Score("llm", "key", right), task_type=task_type))
        plain.fold_verdict(verdict(model, i, Score(*PLAIN, right), task_type=task_type))
    assert heard.statistics.digest() == plain.statistics.digest()
    assert quality(heard) == quality(plain)


def test_a_lenient_compressed_judge_is_read_on_the_trusted_ones_scale() -> None:
    """It says .6 + .3 right + noise of everything; people check every tenth answer. Unread, all models would look alike and good."""
    rng, learned = np.random.default_rng(2), learner()
    for i, (model, task_type, right) in enumerate(answers(rng, 4_000)):
        said = Score("llm", None, float(np.clip(0.6 + 0.3 * right + rng.normal(0, 0.05), 0, 1)))
        scores = (said, Score("human", None, right)) if i % 10 == 0 else (said,)
        learned.fold_verdict(verdict(model, i, *scores, task_type=task_type))
    calibration = learned.statistics.voices.calibrations["llm"]
    assert calibration.shared == pytest.approx(400, abs=1)
    assert calibration.slope > 2.0
    found = quality(learned)
    for model, truth in TRUTH.items():
        assert found[model] == pytest.approx(truth, abs=0.05)


def test_a_judge_that_favours_one_model_is_corrected_for_it() -> None:
    rng, learned = np.random.default_rng(3), learner()
    for i, (model, task_type, right) in enumerate(answers(rng, 6_000)):
        said = Score("llm", None, float(np.clip(right * 0.7 + 0.15 + 0.15 * (model == "d") + rng.normal(0, 0.05), 0, 1)))
        scores = (said, Score("human", None, right)) if i % 10 == 0 else (said,)
        learned.fold_verdict(verdict(model, i, *scores, task_type=task_type))
    bias = learned.statistics.voices.calibrations["llm"].bias
    assert bias is not None
    assert bias["d"] < min(bias["a"], bias["b"], bias["c"]) - 0.02
    assert quality(learned)["d"] == pytest.approx(TRUTH["d"], abs=0.07)


def test_judges_without_common_answers_are_shifted_to_one_scale() -> None:
    """A harsh judge sees only the best model, a mild one sees all: the best must not suffer from its judge."""
    rng, learned = np.random.default_rng(4), learner(())
    for i, (model, task_type, right) in enumerate(answers(rng, 3_000)):
        harsh = model in ("a", "b") and rng.random() < (0.9 if model == "a" else 0.1)
        score = Score("harsh", None, max(right - 0.2, 0.0)) if harsh else Score("mild", None, right)
        learned.fold_verdict(verdict(model, i, score, task_type=task_type))
    assert learned.statistics.voices.calibrations["harsh"].offset > 0.1
    found = quality(learned)
    assert found["a"] > found["b"] + 0.08


@pytest.mark.parametrize("sneaky", [False, True])
def test_a_lying_key_with_a_fifth_of_the_scores_moves_nothing(sneaky: bool) -> None:
    """It calls the best model useless; the sneaky one is honest about all others."""
    honest, lied = learner(), learner()
    rng = np.random.default_rng(5)
    for i, (model, task_type, right) in enumerate(answers(rng, 4_000)):
        liar = rng.random() < 0.2
        said = (0.0 if model == "a" else right if sneaky else 1.0) if liar else right
        honest.fold_verdict(verdict(model, i, Score("thumbs", "key-1", right), task_type=task_type))
        lied.fold_verdict(verdict(model, i, Score("thumbs", "liar" if liar else "key-1", said), task_type=task_type))
    true, found = quality(honest), quality(lied)
    for model in MODELS:
        assert found[model] == pytest.approx(true[model], abs=0.03)


def test_many_honest_keys_keep_their_weight() -> None:
    rng, learned = np.random.default_rng(6), learner()
    for i, (model, task_type, right) in enumerate(answers(rng, 4_000)):
        learned.fold_verdict(verdict(model, i, Score("thumbs", f"key-{rng.integers(10)}", right), task_type=task_type))
    voices = learned.statistics.voices
    count = np.array([own.gram[: learned.statistics.n_cells, 0, 0] for own in voices.sums])
    kept = (count * np.array(voices.worth)).sum() / count.sum()
    assert kept > 0.9


def test_one_source_cannot_own_a_cell_that_others_know() -> None:
    learned = learner()
    for i in range(1_000):
        learned.fold_verdict(verdict("a", i, Score("thumbs", "loud" if i % 20 else "quiet", float(i % 3 > 0))))
    voices = learned.statistics.voices
    count = {n.source: float(own.gram[0, 0, 0] * w[0]) for n, own, w in zip(voices.names, voices.sums, voices.worth, strict=True)}
    assert count["loud"] <= 4.0 * count["quiet"] * 1.1
    assert count["loud"] >= 100


@settings(deadline=None, derandomize=True, max_examples=20)
@given(data=st.data())
def test_scores_that_are_taken_back_leave_no_trace(data) -> None:
    seed = data.draw(st.integers(0, 1_000))
    rng = np.random.default_rng(seed)
    clean, undone = learner(), learner()
    given_back = []
    for i, (model, task_type, right) in enumerate(answers(rng, 120)):
        said = (Score("llm", "one", 0.3 + 0.5 * right), Score("human", "two", right)) if i % 3 == 0 else (Score("llm", "one", right),)
        bad = (*said, Score("troll", "three", 1.0 - right))
        clean.fold_verdict(verdict(model, i, *said, task_type=task_type))
        undone.fold_verdict(verdict(model, i, *bad, task_type=task_type))
        given_back.append(verdict(model, i, *said, task_type=task_type, before=bad))
    for change in given_back:
        undone.fold_verdict(change)
    for learned in (clean, undone):
        learned.statistics.weigh_voices(np.full(learned.statistics.n_cells, 0.2))
    for sums, mine in zip(undone.statistics._fused(), clean.statistics._fused(), strict=True):
        np.testing.assert_allclose(sums, mine, rtol=1e-9, atol=1e-8)


def test_a_snapshot_keeps_every_voice_bit_for_bit() -> None:
    rng, learned = np.random.default_rng(8), learner()
    facts = {m: ArmFacts(1.0) for m in MODELS}
    for i, (model, task_type, right) in enumerate(answers(rng, 500)):
        scores = [Score("llm", f"key-{i % 3}", 0.2 + 0.6 * right)] + [Score("human", None, right)] * (i % 7 == 0)
        learned.fold_verdict(verdict(model, i, *scores, task_type=task_type))
    restored = state.load(state.save(learned), facts)
    assert state.save(restored) == state.save(learned)
    for i, (model, task_type, right) in enumerate(answers(rng, 300)):
        for each in (learned, restored):
            each.fold_verdict(verdict(model, 500 + i, Score("llm", "key-1", right), task_type=task_type))
    assert restored.digest() == learned.digest()
    assert quality(restored) == quality(learned)


def test_keys_beyond_the_most_share_one_place() -> None:
    voices, learned = Voices(), learner()
    for i in range(200):
        learned.fold_verdict(verdict("a", i, Score("thumbs", f"key-{i}", 1.0)))
    voices = learned.statistics.voices
    assert len(voices.names) == 48
    assert voices.names[-1] == Voice("*")
    assert quality(learned)["a"] > 0.85


def test_trusted_judges_speak_alone() -> None:
    voices = Voices(("human",))
    llm, human = Score("llm", None, 0.2, 1.0), Score("human", None, 1.0, 0.5)
    assert voices.shares((llm, human)) == [(human, 0.5)]
    assert voices.shares((llm, Score("other", None, 0.4, 1.0))) == [(llm, 0.5), (Score("other", None, 0.4, 1.0), 0.5)]
    assert voices.shares(()) == []
