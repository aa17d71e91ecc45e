"""``select_model``: the choice without a service."""

import doctest
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import router
from learning.features import encode, to_bytes
from learning.learner import Learner
from router import library, select_model
from router.domain.decisions import Decision
from router.domain.events import Feedback, Outcome, Status
from router.errors import NoEligibleModel, StorageUnavailable, TaskInvalid
from router.ports import Store
from router.storage import schema
from router.storage.sql import SqlStore
from tests.end_to_end.service import environment


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    library.selector.cache_clear()


def test_the_docstring_is_true() -> None:
    assert doctest.testmod(library).failed == 0


def test_importing_the_package_loads_nothing() -> None:
    script = "import sys, router; assert 'numpy' not in sys.modules; from router import select_model; assert 'numpy' in sys.modules"
    subprocess.run([sys.executable, "-c", script], env=environment(), timeout=60, check=True)
    with pytest.raises(AttributeError):
        _ = router.nothing  # type: ignore[attr-defined]


def test_limits_hold_and_the_same_question_has_the_same_answer() -> None:
    first = select_model("code_generation", "medium", "quality", "standard", models=None)
    assert first == select_model("code_generation", 32_000, "quality", 0.001)
    assert first.expected is not None
    assert first.expected.cost_usd is not None
    assert first.expected.cost_usd.mean <= 0.001
    assert first.policy_seq == 0
    assert select_model("code_generation", providers=["openai"]).provider == "openai"
    assert select_model("multimodal", modalities=["image"], exclude=["openai/gpt-4o"]).model != "openai/gpt-4o"


def test_nothing_eligible_gives_the_fallback_with_the_reason_or_an_error() -> None:
    fallen = select_model("quick_qa", 500_000_00, needs=["tools"])
    assert fallen.fallback
    assert fallen.confidence == 0
    assert "context_window" in fallen.reason
    with pytest.raises(NoEligibleModel, match="context_window") as refused:
        select_model("quick_qa", 500_000_00, allow_fallback=False)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: select_model(""), "task_type"),
        (lambda: select_model("x", -1), "context_size"),
        (lambda: select_model("x", "huge"), "context_size"),
        (lambda: select_model("x", 1.5), "context_size"),  # type: ignore[arg-type]
        (lambda: select_model("x", 1, "soon"), "speed_requirement"),
        (lambda: select_model("x", 1, float("nan")), "speed_requirement"),
        (lambda: select_model("x", 1, None, "cheap"), "cost_constraint"),
        (lambda: select_model("x", 1, None, -0.1), "cost_constraint"),
        (lambda: select_model("x", 1, None, None, 1.2), "quality_threshold"),
        (lambda: select_model("x", needs=["magic"]), "needs"),
        (lambda: select_model("x", database_url="memory://"), "database_url"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], field: str) -> None:
    with pytest.raises(TaskInvalid) as refused:
        call()
    assert refused.value.field == field
    assert refused.value.remedy


def test_it_decides_from_a_log_and_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with pytest.raises(StorageUnavailable, match="does not exist"):
        select_model("code_review", database_url=url)
    assert not list(tmp_path.iterdir())
    schema.upgrade(url)
    store = SqlStore(url, "normal")
    shunned = select_model("code_review", database_url=url)
    assert shunned.policy_seq == 0
    for i in range(40):
        score = Feedback(f"f{i}", f"d{i}", "me", "quality", 0.0, 2.0)
        store.commit([decision(f"d{i}", shunned.model), Outcome(f"d{i}", Status.OK, 1.0), score])
    after = select_model("code_review", database_url=url)
    assert after.policy_seq == 120
    assert after.model != shunned.model, "forty zeros in a row must cost the model its place"
    folded_from: list[int] = []
    fold_on = library.fold_on

    def noted(store: Store, learner: Learner, *rest: Any) -> None:
        folded_from.append(learner.seq)
        fold_on(store, learner, *rest)

    monkeypatch.setattr(library, "fold_on", noted)
    assert select_model("code_review", database_url=url) == after
    assert folded_from == [120], "what was folded is not folded again"
    store.close()


def decision(decision_id: str, model: str) -> Decision:
    return Decision(
        decision_id, 1.0, "code_review", 1, to_bytes(encode(1_000)), {}, (model,), (1.0,), model, 1.0, 1.0, "test", "fixed", "1", 0, "1"
    )
