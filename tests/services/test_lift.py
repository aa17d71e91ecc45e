"""The holdback: randomised by episode, outside every propensity-weighted estimate, and a lift that may be looked at any time."""

import math

import numpy as np
import pytest

from learning.evaluation.experiments import lift_terms, ratio_evidence
from learning.evaluation.intervals import sequence
from router import config
from router.domain.candidates import Candidate
from router.domain.catalog import Catalog
from router.domain.lift import Unit, report
from router.domain.models import Model, Price
from router.domain.tasks import Task
from router.errors import ConfigurationInvalid
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.services.evaluation import EvaluationService
from router.services.lift import LiftService
from router.testing.rehearsal import Answer, Rehearsal

QUALITY = {"acme/base": 0.4, "acme/good": 0.9}
MODELS = [Model(name, *name.split("/"), "family", 100_000, price=Price(0.1, 0.2)) for name in QUALITY]


def units(rng: np.random.Generator, n: int, gain: float, share: float, real_share: float | None = None) -> list[Unit]:
    held = rng.random(n) < (share if real_share is None else real_share)
    quality = np.where(held, 0.6, 0.6 + gain) + 0.3 * rng.normal(size=n)
    return [Unit(float(i), bool(h), share, 1, np.array([q, 0.01, 1.0, q])) for i, (h, q) in enumerate(zip(held, quality, strict=True))]


def test_the_lift_holds_the_truth_however_often_one_looks():
    rng = np.random.default_rng(0)
    always = 0
    for _ in range(200):
        held = rng.random(600) < 0.2
        value = np.where(held, 0.5, 0.6) + 0.3 * rng.normal(size=600)
        _, low, high = sequence(lift_terms(value, held, np.full(600, 0.2)))
        always += bool(((low <= 0.1) & (high >= 0.1))[60:].all())
    assert always / 200 >= 0.93


def test_a_split_that_is_not_the_one_set_is_found_and_a_sound_one_is_not():
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        held = np.cumsum(rng.random(500) < 0.1)
        alarms += any(ratio_evidence(int(held[i]), i + 1, 0.1) > 2 for i in range(500))
    assert alarms / 300 <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 300)
    bad = report(units(rng, 3_000, 0.1, 0.1, real_share=0.15))
    assert bad.ratio_evidence > 2
    assert "the split is not random" in bad.doubts[-1]


def test_nothing_is_claimed_of_few_units_and_a_gain_is_found_in_many():
    rng = np.random.default_rng(2)
    assert report([]).doubts
    few = report(units(rng, 60, 0.1, 0.1))
    assert few.quality.lift is None
    many = report(units(rng, 4_000, 0.1, 0.1))
    assert many.doubts == ()
    assert many.quality.lift.low > 0
    assert many.quality.lift.low <= 0.1 <= many.quality.lift.high


@pytest.fixture(scope="module")
def log() -> Rehearsal:
    made, rng = Rehearsal(MODELS, {"holdback_share": 0.25, "baseline_model": "acme/base"}), np.random.default_rng(3)

    def answer(model: str) -> Answer:
        return Answer(float(rng.random() < QUALITY[model]), 0.001, 1.0, 1_000, 300)

    for i in range(500):
        made.step(Task("summarization", 1_000, episode_id=f"episode-{i // 2}" if i % 10 else None), answer)
    return made


def test_a_whole_episode_is_in_one_arm_and_the_baseline_answers_it(log):
    arms: dict[str, set[str]] = {}
    for record in log.store.decisions(limit=1_000):
        decision = record.decision
        arms.setdefault(decision.episode_id or decision.id, set()).add(decision.request["arm"])
        if decision.request["arm"] == "baseline":
            assert (decision.model, decision.policy, decision.forced, decision.propensity) == ("acme/base", "holdback", True, 1.0)
        else:
            assert not decision.forced
    assert all(len(arm) == 1 for arm in arms.values())
    held = sum("baseline" in arm for arm in arms.values())
    assert abs(held - 0.25 * len(arms)) < 4 * math.sqrt(len(arms) * 0.25 * 0.75)


def test_what_is_held_back_measures_the_lift_and_stays_out_of_other_estimates(log):
    told = LiftService(log.store).lift()
    assert told.doubts == ()
    assert told.quality.baseline == pytest.approx(0.4, abs=0.12)
    assert told.quality.lift.low > 0.1
    service = EvaluationService(log.store, decide_again, lambda: Catalog(MODELS))
    assert service.evaluate(Candidate(policy="greedy")).not_drawn == told.decisions[1]
    audit = AuditService(log.store, decide_again)
    assert all(audit.recompute(record).exact for record in reversed(log.store.decisions(limit=100)))


def test_learning_has_a_price_in_points_and_dollars(log):
    told = EvaluationService(log.store, decide_again, lambda: Catalog(MODELS)).exploration()
    assert 0 < told.explored < 0.5
    assert told.then.utility > 0
    assert told.now.total_quality > 0
    assert told.now.quality < 0.2


def test_a_holdback_needs_a_baseline(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationInvalid, match="baseline_model"):
        config.load(database_url="memory://", holdback_share=0.1)
    assert config.load(database_url="memory://", holdback_share=0.1, baseline_model="openai/gpt-4o").holdback_share == 0.1
