"""A pass over a table in which models change on the way."""

import numpy as np
import pytest

from router.domain.hindsight import baselines
from router.domain.outcome_stream import Change, Weights, lay_out
from router.domain.outcome_table import OutcomeTable
from router.errors import TaskInvalid
from router.services.replay import ReplayOptions, replay

MODELS = ("cheap", "dear", "late")
RATES = {"cheap": (0.4, 0.7), "dear": (0.8, 0.6), "late": (0.9, 0.3)}
"""Share of right answers on the task types "code" and "prose"."""
PRICES = {"cheap": 1e-6, "dear": 1e-5, "late": 5e-6}


def table(prompts: int = 400) -> OutcomeTable:
    rng = np.random.default_rng(5)
    k = len(MODELS)
    kinds = rng.integers(0, 2, prompts)
    rates = np.array([RATES[m] for m in MODELS])[:, kinds].T
    tokens = rng.integers(50, 400, prompts * k).astype(float)
    return OutcomeTable(
        prompt_ids=tuple(f"p{i}" for i in range(prompts)),
        task_types=tuple("code" if kind == 0 else "prose" for kind in kinds),
        context_tokens=np.full(prompts, 500),
        models=MODELS,
        order=np.arange(prompts * k),
        first=np.arange(prompts * k).reshape(prompts, k),
        count=np.ones((prompts, k), dtype=np.int64),
        quality=(rng.random((prompts, k)) < rates).astype(float).ravel(),
        cost_usd=np.tile([PRICES[m] for m in MODELS], prompts) * (500 + tokens),
        input_tokens=np.full(prompts * k, 500.0),
        output_tokens=tokens,
        latency_s=np.full(prompts * k, np.nan),
        dropped=0,
    )


def test_an_arrival_is_chosen_only_after_it_came() -> None:
    changes = (Change("late", 0.0, offered=False), Change("late", 0.5))
    report, traces = replay(table(), ReplayOptions(changes=changes))
    assert all(t.model != "late" for t in traces[:200])
    assert any(t.model == "late" for t in traces[200:])
    assert report["decisions"] == 400


def test_a_removed_model_is_never_chosen_again() -> None:
    _, traces = replay(table(), ReplayOptions(changes=(Change("late", 0.5, offered=False),)))
    assert any(t.model == "late" for t in traces[:200])
    assert all(t.model != "late" for t in traces[200:])


def test_a_price_cut_changes_the_choice_at_once() -> None:
    weights = {"quality_weight": 1.0, "cost_weight": 1.0}
    _, before = replay(table(), ReplayOptions(**weights))
    _, after = replay(table(), ReplayOptions(**weights, changes=(Change("dear", 0.5, price=0.01),)))
    assert [t.model for t in before[:200]] == [t.model for t in after[:200]], "nothing happens before it"
    share = sum(t.model == "dear" and t.task_type == "code" for t in after[200:240])
    assert share > sum(t.model == "dear" and t.task_type == "code" for t in before[200:240])
    dear = [t.cost_usd for t in after[200:] if t.model == "dear" and t.cost_usd is not None]
    assert max(dear) < 1e-4, "and its calls are billed at the new price"


def test_a_regression_takes_successes_away_and_says_nothing() -> None:
    outcomes = table()
    stream = lay_out(outcomes, Weights(), changes=(Change("dear", 0.5, kept=0.25),))
    plain = lay_out(outcomes, Weights())
    k = MODELS.index("dear")
    half = len(stream) // 2
    assert (stream.quality[:half] == plain.quality[:half]).all()
    kept = stream.quality[half:, k].sum() / plain.quality[half:, k].sum()
    assert 0.15 < kept < 0.35
    assert (stream.cost == plain.cost).all()


def test_the_stream_is_the_same_for_everyone_with_the_same_seed() -> None:
    one, two, other = (lay_out(table(), Weights(), seed=s, feedback_rate=0.2) for s in (1, 1, 2))
    assert (one.prompt == two.prompt).all()
    assert (one.told == two.told).all()
    assert not (one.prompt == other.prompt).all()
    assert 0.1 < one.told.mean() < 0.3


def test_baselines_fall_back_where_the_best_model_is_away() -> None:
    report = baselines(lay_out(table(), Weights(), changes=(Change("dear", 0.5, offered=False),)))
    assert report["best_single"]["model"] in MODELS
    assert report["best_per_task"]["quality"] >= report["best_single"]["quality"]
    assert report["oracle"]["quality"] >= report["best_per_task"]["quality"]


@pytest.mark.parametrize(
    "change", [Change("nobody", 0.5), Change("dear", 1.5), Change("dear", 0.5, kept=2.0), Change("dear", 0.5, price=0.0)]
)
def test_an_impossible_change_is_refused_by_name(change: Change) -> None:
    with pytest.raises(TaskInvalid) as refusal:
        replay(table(), ReplayOptions(changes=(change,)))
    assert refusal.value.field in ("model", "change")
