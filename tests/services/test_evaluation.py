"""Evaluation and what-if on logs that the service's own code wrote, against answers that are known."""

import itertools

import numpy as np
import pytest

from learning.choice import Restraint
from router.domain.candidates import Candidate, rules_of
from router.domain.catalog import Catalog
from router.domain.evaluation import Look, compare
from router.domain.models import Model, Price
from router.domain.recall import Result, Scope
from router.domain.tasks import Task, Weights
from router.errors import ModelNotFound, TaskInvalid
from router.recomputing import decide_again
from router.services.evaluation import EvaluationService
from router.testing.rehearsal import Answer, Rehearsal

PRICES = {"acme/small": (0.2, 0.6), "acme/large": (1.0, 3.0), "other/best": (2.0, 6.0)}
QUALITY = {"acme/small": 0.6, "acme/large": 0.7, "other/best": 0.8}
MODELS = [Model(name, *name.split("/"), "family", 100_000, price=Price(*pair)) for name, pair in PRICES.items()]
TYPES = ("code_generation", "summarization")
STEPS = 500


def answers(rng: np.random.Generator, scored: float = 0.6):
    def answer(model: str) -> Answer:
        out = int(np.exp(5.7 + 0.3 * rng.normal()))
        cost = (1_000 * PRICES[model][0] + out * PRICES[model][1]) * 1e-6
        told = float(rng.random() < QUALITY[model]) if rng.random() < scored else None
        return Answer(told, cost, float(np.exp(0.2 * rng.normal())), 1_000, out)

    return answer


@pytest.fixture(scope="module")
def log() -> Rehearsal:
    made, rng = Rehearsal(MODELS, {"policy_parameters": {"floor": 0.2}}), np.random.default_rng(7)
    answer = answers(rng)
    for i in range(STEPS):
        made.step(Task(TYPES[i % 2], 1_000), answer)
    made.step(Task(TYPES[0], 90_000_000), answer)  # a fallback
    return made


@pytest.fixture(scope="module")
def service(log: Rehearsal) -> EvaluationService:
    return EvaluationService(log.store, decide_again, lambda: Catalog(MODELS))


def test_what_drew_the_decisions_is_recomputed_exactly(service):
    told = service.evaluate(Candidate(policy="thompson", parameters={"floor": 0.2}))
    assert (told.decisions, told.not_drawn) == (STEPS, 1)
    assert told.utility.support.mean_weight == pytest.approx(1.0, abs=1e-7)
    assert told.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4)
    assert told.utility.difference.mean == pytest.approx(0.0, abs=1e-7)
    assert told.verdict == "no difference shown"


def test_what_was_not_drawn_takes_no_place_among_the_last_decisions(service):
    thompson = Candidate(policy="thompson", parameters={"floor": 0.2})
    told = service.evaluate(thompson, Scope(last=100))
    assert (told.decisions, told.not_drawn) == (100, 1), "the newest of all is a fallback"


def test_decisions_under_a_budget_are_recomputed_at_the_price_that_money_had():
    rng, prices = np.random.default_rng(8), itertools.cycle((0.0, 40.0, 160.0))
    made, answer = Rehearsal(MODELS, {"policy_parameters": {"floor": 0.2}}, money=lambda: next(prices)), answers(rng)
    for i in range(STEPS):
        made.step(Task(TYPES[i % 2], 1_000), answer)
    budgeted = EvaluationService(made.store, decide_again, lambda: Catalog(MODELS))
    same = budgeted.evaluate(Candidate(policy="thompson", parameters={"floor": 0.2}))
    assert same.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4)
    as_priced = budgeted.what_if(Candidate(prices=PRICES))
    assert as_priced.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4)


def test_a_safe_model_answers_until_others_have_proved_no_worse_and_what_was_drawn_is_recomputed():
    rng = np.random.default_rng(9)
    free, guarded = (Rehearsal(MODELS, {"policy_parameters": {"floor": 0.2}} | told) for told in ({}, {"safe_model": "acme/large"}))
    answer = answers(rng, scored=0.2)
    early = [[log.step(Task(TYPES[i % 2], 1_000), answer).model for i in range(200)].count("acme/large") for log in (free, guarded)]
    assert early[1] > early[0] + 40
    told = EvaluationService(guarded.store, decide_again, lambda: Catalog(MODELS)).what_if(Candidate(prices=PRICES))
    assert told.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "allowed", "said"),
    [
        ({"safe_model": "acme/large"}, None, "as safe as acme/large within 0.01"),
        ({"exploration_quality": 0.02}, None, "at most 0.02 of quality"),
        ({"exploration_usd": 2e-5}, None, "at most $0.00002"),
        ({}, Restraint(0.02, None), ""),
        ({"safe_model": "acme/small", "safe_shortfall": 0.02, "exploration_quality": 0.05}, Restraint(0.03, 1e-3), "acme/small"),
    ],
)
def test_a_policy_is_judged_under_the_limits_that_the_log_was_made_with(settings, allowed, said):
    rng = np.random.default_rng(10)
    made = Rehearsal(MODELS, {"policy_parameters": {"floor": 0.2}} | settings, allowed=allowed)
    answer = answers(rng)
    for i in range(240):
        made.step(Task(TYPES[i % 2], 1_000), answer)
    service = EvaluationService(made.store, decide_again, lambda: Catalog(MODELS))
    same = service.evaluate(Candidate(policy="thompson", parameters={"floor": 0.2}))
    assert same.decisions == 240
    assert same.utility.difference.mean == pytest.approx(0.0, abs=1e-7)
    assert same.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4)
    assert said in same.candidate
    assert any("allowance" in doubt for doubt in same.doubts) is (allowed is not None)
    for candidate in (Candidate(weights=Task(TYPES[0], 1_000).weights), Candidate(prices=PRICES)):  # nothing that differs
        told = service.what_if(candidate)
        assert told.utility.support.largest_weight == pytest.approx(1.0, abs=1e-4), candidate
    other = service.evaluate(Candidate(policy="uniform"))
    if "exploration_usd" not in settings:  # the best is the dearest here, and others cost nothing on top
        assert max(one.then.mean for one in other.traffic) > 0.4, "a uniform draw of three is held back too"
    pinned = service.evaluate(Candidate(model="other/best"))
    assert [one.model for one in pinned.traffic if one.then.mean > 0] == ["other/best"], "what is named is not drawn"
    assert "safe" not in pinned.candidate


def test_what_exploring_cost_is_against_the_best_whatever_is_safe():
    rng = np.random.default_rng(11)
    made, answer = Rehearsal(MODELS, {"policy": "greedy", "safe_model": "acme/small", "safe_shortfall": 0.0}), answers(rng)
    for i in range(100):
        made.step(Task(TYPES[i % 2], 1_000), answer)
    cost = EvaluationService(made.store, decide_again, lambda: Catalog(MODELS)).exploration()
    assert cost.decisions == 100
    assert cost.explored > 0.1, "the safe model answered where another was expected to be better"


def test_one_model_is_worth_what_it_is_worth(service):
    for model, quality in QUALITY.items():
        told = service.evaluate(Candidate(model=model))
        assert [t.model for t in told.traffic if t.then.mean > 0] == [model]
        if told.quality.then is not None:
            error = (told.quality.then.high - told.quality.then.low) / 4
            assert told.quality.then.mean == pytest.approx(quality, abs=4 * error)
        if told.cost_usd.then is not None:
            assert told.cost_usd.then.mean == pytest.approx((1_000 * PRICES[model][0] + 313 * PRICES[model][1]) * 1e-6, rel=0.15)
    assert service.evaluate(Candidate(model="acme/large")).verdict != "cannot tell"


def test_rules_leave_the_types_they_do_not_name_as_they_were(service):
    told = service.evaluate(Candidate(rules={"code_generation": "acme/large"}))
    shares = {t.model: t.then.mean for t in told.traffic}
    assert shares["acme/large"] > 0.5
    assert shares["acme/small"] > 0
    assert rules_of({"rules": [{"task_type": "quick_qa", "primary": {"model": "a/b"}}]}) == {"quick_qa": "a/b"}
    assert rules_of({"quick_qa": "a/b"}) == {"quick_qa": "a/b"}


def test_a_higher_price_costs_more_and_drives_traffic_away(service):
    told = service.what_if(Candidate(prices={"acme/large": (8.0, 24.0)}))
    moved = {t.model: t.then.mean - t.now for t in told.traffic}
    assert moved["acme/large"] < 0
    cheaper = service.what_if(Candidate(prices={name: (a / 2, b / 2) for name, (a, b) in PRICES.items()}))
    assert cheaper.cost_usd.then.mean < cheaper.cost_usd.now.mean


def test_models_are_dropped_and_capped(service):
    dropped = service.what_if(Candidate(without=frozenset({"acme/small"})))
    assert {t.model: t.then.mean for t in dropped.traffic}["acme/small"] == 0.0
    capped = service.what_if(Candidate(caps={"acme/small": 0.02}))
    assert {t.model: t.then.mean for t in capped.traffic}["acme/small"] == pytest.approx(0.02, abs=1e-6)
    assert sum(t.then.mean for t in capped.traffic) == pytest.approx(1.0)


def test_weights_move_cost_and_quality_apart(service):
    told = service.what_if(Candidate(weights=Weights(1.0, 0.6, 0.1)))
    assert told.cost_usd.then.mean < told.cost_usd.now.mean


def test_a_model_that_was_never_drawn_cannot_be_judged(log):
    new = [*MODELS, Model("new/one", "new", "one", "new", 100_000, price=Price(0.1, 0.1))]
    told = EvaluationService(log.store, decide_again, lambda: Catalog(new)).evaluate(Candidate(rules=dict.fromkeys(TYPES, "new/one")))
    # not eligible then: the best expected utility takes its place, as a fixed policy does
    assert told.decisions == STEPS
    few = EvaluationService(log.store, decide_again, lambda: Catalog(MODELS)).evaluate(Candidate(model="other/best"), Scope(last=20))
    assert few.verdict == "cannot tell"
    assert few.utility.then is None
    assert few.doubts
    assert set(few.utility.estimators) >= {"direct", "doubly_robust", "inverse_propensity", "self_normalised", "clipped_at_5"}


@pytest.mark.parametrize(
    ("candidate", "field"),
    [
        (Candidate(), "policy"),
        (Candidate(policy="magic"), "policy"),
        (Candidate(policy="thompson", parameters={"heat": 1.0}), "parameters"),
        (Candidate(policy="greedy", model="acme/small"), "policy"),
        (Candidate(model="acme/none"), "model"),
        (Candidate(caps={"acme/small": 1.5}), "caps"),
        (Candidate(prices={"acme/small": (-1.0, 0.0)}), "prices"),
    ],
)
def test_what_cannot_be_compared_is_named(service, candidate, field):
    with pytest.raises((TaskInvalid, ModelNotFound)) as error:
        service.evaluate(candidate)
    assert error.value.field == field
    assert error.value.remedy


def test_a_logged_sampling_probability_is_used_and_lost_decisions_are_told():
    rng, models = np.random.default_rng(8), ("a/x", "b/y")
    pieces = []
    for i in range(2_000):
        drawn = int(rng.random() < 0.5)
        good = rng.random() < (0.4, 0.8)[drawn]
        sampling = 0.9 if good else 0.3  # bad answers are judged less often: only the logged probability sets that right
        score = float(good) if rng.random() < sampling else None
        result = Result(score, 0.001, 1.0, False, None if score is None else sampling)
        flat = np.full((2, 3), [0.5, 0.001, 1.0])
        half, pick = np.full(2, 0.5), np.array([0.0, 1.0])
        pieces.append(Look("t", models, drawn, half, pick, flat, flat, result, 0.001, np.array([1.0, 0.0, 0.0]), float(i)))
    told = compare(pieces, Candidate(model="b/y"), not_recomputed=7)
    assert told.quality.estimators["inverse_propensity"] == pytest.approx(0.8, abs=0.06)
    assert "7 drawn decisions are left out" in told.doubts[0]
