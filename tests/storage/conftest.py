"""The stores under test, and records to put into them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.domain.decisions import Alternative, Decision, Estimate, Exclusion, Expected
from router.domain.events import Feedback, FeedbackChange, Outcome, Status
from router.ports import Store
from router.storage import schema
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore


def sqlite(folder: Path) -> Store:
    url = f"sqlite:///{folder / 'log.db'}"
    schema.upgrade(url)
    return SqlStore(url, "normal")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store in turn, empty."""
    if request.param == "postgres":
        made: Store = SqlStore(request.getfixturevalue("postgres_url"), "normal")
    else:
        made = MemoryStore() if request.param == "memory" else sqlite(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sql_store(tmp_path: Path) -> Iterator[SqlStore]:
    made = sqlite(tmp_path)
    assert isinstance(made, SqlStore)
    yield made
    made.close()


class Records:
    """Records with everything filled in; name what matters to the test."""

    @staticmethod
    def decision(decision_id: str = "d1", **changes: Any) -> Decision:
        expected = Expected(Estimate(0.8, 0.7, 0.9), Estimate(0.0012, 0.001, 0.0021), None)
        made = Decision(
            id=decision_id,
            at=1_700_000_000.125,
            task_type="code_generation",
            features_schema=3,
            features=b"\x00\x01\xfe\xff",
            request={"context_tokens": 1200, "needs": ["json"], "weights": {"quality": 1.0}, "max_cost_usd": None},
            eligible=("a/one", "b/two", "c/three"),
            propensities=(0.5, 0.5 - 2**-24, 2**-24),
            model="b/two",
            propensity=0.5 - 2**-24,
            confidence=0.4,
            reason="best expected utility",
            policy="thompson",
            policy_version="0a1b2c",
            policy_seq=17,
            catalog_version="ffee",
            episode_id=None,
            tags=(("team", "search"), ("tier", "gold")),
            excluded=(Exclusion("d/four", "max_cost", "costs 0.02 USD, over the limit of 0.01 USD"),),
            expected=expected,
        )
        return replace(made, **changes)

    @staticmethod
    def alternative() -> Alternative:
        return Alternative("a/one", Expected(Estimate(0.1, 0.0, 0.2), None, None), 0.3, 0.5, 0.2, "a lower price")

    @staticmethod
    def outcome(decision_id: str = "d1", **changes: Any) -> Outcome:
        return replace(Outcome(decision_id, Status.OK, 1_700_000_001.5, None, 1.25, 0.25, 1200, 300, 0.0015), **changes)

    @staticmethod
    def feedback(feedback_id: str = "f1", decision_id: str = "d1", score: float = 0.75, **changes: Any) -> Feedback:
        return replace(Feedback(feedback_id, decision_id, "human", "overall", score, 1_700_000_002.0), **changes)

    @staticmethod
    def change(feedback_id: str = "f1", score: float | None = None, at: float = 1_700_000_003.0) -> FeedbackChange:
        return FeedbackChange(feedback_id, score, at)


@pytest.fixture
def make() -> type[Records]:
    return Records
