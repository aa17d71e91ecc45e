"""A log as Python reads it."""

import subprocess
import sys

import pytest

from router.errors import StorageUnavailable, TaskInvalid
from router.logbook import comparison_frame, open_log
from router.testing.samples import TYPES, sample_log

pd = pytest.importorskip("pandas", reason="the notebooks extra is not installed")


@pytest.fixture(scope="module")
def log():
    with sample_log(250, policy_parameters={"floor": 0.3}) as made:
        yield made


def test_decisions_outcomes_and_scores_are_tables(log):
    decisions = log.decisions()
    assert len(decisions) == 250
    assert decisions.seq.is_monotonic_increasing
    assert decisions["at"].dt.tz is not None
    assert set(decisions.task_type) == set(TYPES)
    assert decisions.propensity.between(0, 1).all()
    outcomes, feedback = log.outcomes(), log.feedback()
    assert len(outcomes) == 250
    assert decisions.quality.notna().sum() == len(feedback)
    assert outcomes.cost_usd.sum() == pytest.approx(decisions.cost_usd.sum())
    assert len(log.decisions(last=20, task_type=TYPES[0])) == 20


def test_beliefs_and_rules_are_those_of_the_log(log):
    beliefs, rules = log.beliefs(), log.rules()
    assert len(beliefs) == len(TYPES) * 6
    assert beliefs.groupby("task_type").probability_best.sum().to_numpy() == pytest.approx(1.0)
    assert set(rules.task_type) == set(TYPES)
    assert (beliefs[beliefs.recommended].set_index("task_type").model == rules.set_index("task_type").recommended).all()
    assert log.beliefs("never_seen").scores.sum() == 0


def test_questions_are_asked_by_name(log):
    told = comparison_frame(log.evaluate(policy="greedy"))
    assert list(told.quantity) == ["utility", "quality", "cost_usd", "latency_s"]
    assert log.audit(log.decisions().id.iloc[100]).exact
    assert log.exploration(100).decisions == 100
    assert log.lift().doubts
    with pytest.raises(TaskInvalid, match="no field"):
        log.what_if(colour="blue")


def test_a_log_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageUnavailable, match="does not exist"):
        open_log(f"sqlite:///{tmp_path}/none.db")


def test_reading_a_log_loads_pandas_only_for_tables():
    code = "import sys; from router import open_log; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
