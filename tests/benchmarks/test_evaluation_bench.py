"""The benchmark of the intervals, in small: simulated logs, and a table of recorded outcomes replayed."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import recorded, simulated
from benchmarks.evaluation.__main__ import done, replays, simulation
from router.domain.outcome_table import OutcomeTable
from router.storage.outcome_files import read_outcomes
from tests.cli.outcomes import outcome_rows, write_csv


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> OutcomeTable:
    rows = outcome_rows()
    for i, row in enumerate(rows):  # tokens that vary, so that list prices can be fitted
        row["input_tokens"], row["output_tokens"] = 100 + i % 7, 50 + i % 11
        row["cost_usd"] *= (row["input_tokens"] + 2 * row["output_tokens"]) / 200
    return read_outcomes(write_csv(Path(tmp_path_factory.mktemp("bench")) / "outcomes.csv", rows))


def test_intervals_hold_the_truth_on_simulated_logs(capsys):
    held = [one for seed in range(8) for one in simulated.held(seed, steps=150)]
    told = [one for one in held if one.support.enough]
    assert len(told) >= 16
    assert np.mean([one.inside["doubly robust"] for one in told]) >= 0.85  # 95 % less three standard errors of few
    assert not [one for one in told if one.support.effective < 30]
    simulation(held, 8)
    assert "claimed all the same: 0" in capsys.readouterr().out


def test_true_replays_lie_in_the_intervals(table, capsys):
    runs = [recorded.check(table, seed, steps=250) for seed in range(3)]
    told = [one for run in runs for one in run if one.inside is not None]
    assert len(told) >= 9
    assert sum(bool(one.inside) for one in told) >= len(told) - 2
    replays(runs)
    assert "greedy" in capsys.readouterr().out


def test_what_if_is_checked_by_doing_it(table, capsys):
    runs = [recorded.do(table, seed, steps=240, cost_weight=0.3) for seed in range(3)]
    told = [one for one in runs if one.inside is not None]
    assert told
    assert any(one.inside for one in told)
    done(runs)
    assert "when done" in capsys.readouterr().out
