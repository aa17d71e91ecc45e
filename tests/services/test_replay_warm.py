"""A battery before the pass moves the first decisions."""

import numpy as np
import pytest

from router.domain.hindsight import regret
from router.domain.outcome_stream import Weights, lay_out
from router.domain.outcome_table import OutcomeTable
from router.errors import TaskInvalid
from router.services.replay import ReplayOptions, replay

TASKS, MODELS = ("code", "math", "prose"), tuple(f"m{i:02}" for i in range(12))
RATES = np.random.default_rng(2).uniform(0.3, 0.9, (len(TASKS), len(MODELS)))


def table(prompts: int = 900) -> OutcomeTable:
    rng = np.random.default_rng(7)
    k = len(MODELS)
    kinds = np.arange(prompts) % len(TASKS)
    return OutcomeTable(
        prompt_ids=tuple(f"p{i}" for i in range(prompts)),
        task_types=tuple(TASKS[kind] for kind in kinds),
        context_tokens=np.full(prompts, 500),
        models=MODELS,
        order=np.arange(prompts * k),
        first=np.arange(prompts * k).reshape(prompts, k),
        count=np.ones((prompts, k), dtype=np.int64),
        quality=(rng.random((prompts, k)) < RATES[kinds]).astype(float).ravel(),
        cost_usd=np.full(prompts * k, np.nan),
        input_tokens=np.full(prompts * k, 500.0),
        output_tokens=np.full(prompts * k, 100.0),
        latency_s=np.full(prompts * k, np.nan),
        dropped=0,
    )


def test_the_regret_of_the_first_decisions_is_at_most_half_of_that_of_a_cold_start():
    outcomes = table(600)
    cold, warm = (
        np.mean([replay(outcomes, ReplayOptions(seed=seed, warm_per_cell=n))[0]["first_day"]["regret"] for seed in (1, 2)]) for n in (0, 20)
    )
    assert 0 < warm < 0.5 * cold  # about a third, measured over ten seeds


def test_what_the_battery_played_is_set_aside_from_the_pass():
    report, traces = replay(table(), ReplayOptions(warm_per_cell=20))
    assert report["warm_per_cell"] == 20
    assert report["decisions"] == len(traces) == 900 - 3 * 20
    whole = lay_out(table(), Weights())
    battery, rest = whole.set_aside(20)
    assert {traces[i].prompt_id for i in range(840)} == {whole.table.prompt_ids[p] for p in rest.prompt}
    assert not {whole.table.prompt_ids[p] for p in battery.prompt} & {trace.prompt_id for trace in traces}
    assert [sum(whole.table.task_types[p] == task for p in battery.prompt) for task in TASKS] == [20, 20, 20]


def test_regret_is_nothing_where_the_best_of_each_type_is_chosen():
    stream = lay_out(table(), Weights())
    quality = stream.expected()[0]
    tasks = np.array([stream.table.task_types[p] for p in stream.prompt])
    best = {task: int(np.nanmean(quality[tasks == task], axis=0).argmax()) for task in TASKS}
    right = np.array([best[task] for task in tasks])
    assert regret(stream, right) == pytest.approx(0.0)
    assert regret(stream, (right + 1) % len(MODELS)).min() > 0


@pytest.mark.parametrize("n", [-1, 300])
def test_a_battery_that_cannot_be_is_refused(n):
    with pytest.raises(TaskInvalid) as error:
        replay(table(), ReplayOptions(warm_per_cell=n))
    assert error.value.field == "warm-per-cell"
