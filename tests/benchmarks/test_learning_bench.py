"""The harness of ``make bench-learning``: same streams for all, honest intervals, hand-checkable yardsticks, resumption."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning.contenders import CONTENDERS, Entry, entry
from benchmarks.learning.contenders.protocol import Case, Prices, Score, Setup
from benchmarks.learning.contenders.rules import LiteLLMRule
from benchmarks.learning.coverage import summarise
from benchmarks.learning.design import FULL, QUICK, Cell, design
from benchmarks.learning.intervals import interval, paired
from benchmarks.learning.measures import SHUFFLED, fixed_rules, hull, of_choice, read, shuffled_control, singles, task_mix
from benchmarks.learning.play import Pass, features, play
from benchmarks.learning.problems import (
    SIMULATED,
    Problem,
    budgets,
    find_tables,
    simulated_table,
    specialist,
    stream_of,
    swap_at,
    table_of,
    take,
)
from benchmarks.learning.results import Results, code_of, key_of
from benchmarks.learning.verdicts import verdicts
from router.domain.outcome_stream import Weights, lay_out

SMALL = Problem(SIMULATED, prompts=300)


def test_a_taken_table_holds_the_rows_of_its_prompts() -> None:
    table = simulated_table(50)
    part = take(table, np.array([7, 3]))
    assert part.prompt_ids == ("prompt-7", "prompt-3")
    assert (part.means(part.quality) == table.means(table.quality)[[7, 3]]).all()
    assert (part.means(part.cost_usd) == table.means(table.cost_usd)[[7, 3]]).all()


def test_pointsman_and_the_peers_face_the_same_stream() -> None:
    problem = replace(SMALL, feedback=0.5, cost_weight=0.3)
    stream = stream_of(problem, 4)
    made = play(problem, "pointsman", 4)
    asked = lay_out(table_of(problem, 4), Weights(1.0, 0.3), seed=4, feedback_rate=0.5)
    assert (stream.prompt == asked.prompt).all()
    assert (stream.told == asked.told).all()
    assert len(made.chosen) == len(stream)
    assert (stream.row[np.arange(len(stream)), made.chosen] >= 0).all()


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.name)
def test_every_contender_plays_by_the_rules(contender: Entry) -> None:
    if contender.package is not None and importlib.util.find_spec(contender.package) is None:
        pytest.skip(f"{contender.package} lives in the peers' environment")
    problem = replace(SMALL, prompts=120, cost_weight=0.3, feedback=0.5, scenario="best model arrives")
    stream = stream_of(problem, 1)
    made = play(problem, contender.name, 1)
    assert (stream.row[np.arange(len(stream)), made.chosen] >= 0).all(), "it never calls a model that is not on offer"
    assert (play(problem, contender.name, 1).chosen == made.chosen).all(), "the same seed makes the same pass"


@pytest.mark.parametrize("name", ["epsilon-greedy tuned", "pointsman"])
def test_learners_beat_chance(name: str) -> None:
    problem = replace(SMALL, prompts=800)
    ours, chance = (of_choice(stream_of(problem, 0), play(problem, n, 0).chosen)["quality"] for n in (name, "random"))
    assert ours > chance + 0.03


def test_litellms_rule_stops_learning_at_its_cap() -> None:
    setup = Setup(("dear", "cheap"), 1, 2, seed=0, cost_weight=0.5, c_ref=1.0, budget_usd=None)
    rule = LiteLLMRule(setup)
    rule.enter(Prices(np.array([4e-6, 1e-6]), np.array([4e-6, 1e-6]), np.array([True, True])))
    assert rule.alpha.tolist() == [[7.0, 3.0]], "the dear tier is believed good"
    assert rule.cheap.tolist() == [0.0, 1.0]
    case = Case(np.ones(2), 0, np.array([0, 1]), np.zeros(2))
    for _ in range(500):
        rule.learn(case, 1, Score(1.0, 0.9))
    assert rule.alpha[0, 1] + rule.beta[0, 1] == 200.0
    assert rule.choose(case) == 1


def test_features_are_one_hot_size_and_one() -> None:
    table = simulated_table(40)
    x, task = features(table)
    assert x.shape == (40, len(set(table.task_types)) + 2)
    assert (x[:, -1] == 1).all()
    assert (x[:, :-2].argmax(axis=1) == task).all()
    assert (x[:, :-2].sum(axis=1) == 1).all()


def test_budgets_lie_between_the_cheapest_and_the_dearest_model() -> None:
    table = simulated_table(200)
    cost = np.nanmean(table.means(table.cost_usd), axis=0)
    spread = budgets(table)
    assert len(spread) == 5
    assert cost.min() < spread[0] < spread[-1] < cost.max()
    assert np.allclose(np.diff(np.log(spread)), np.diff(np.log(spread))[0])


def test_the_arriving_specialist_is_the_best_of_its_task_type() -> None:
    table = simulated_table(300)
    model, kind = specialist(table)
    inside = np.array(table.task_types) == kind
    assert table.models[int(table.means(table.quality)[inside].mean(axis=0).argmax())] == model
    stream = stream_of(Problem(SIMULATED, scenario="best model arrives"), 0)
    k = table.models.index(model)
    half = len(stream) // 2
    assert (stream.row[:half, k] < 0).all()
    assert (stream.row[half:, k] >= 0).all()


@pytest.mark.parametrize("mark", ["", "@"])
def test_a_second_era_is_told_from_the_first(tmp_path: Path, mark: str) -> None:
    lines = ["prompt_id,task_type,model,quality,era"]
    for era in ("first", "second"):
        lines += [f"p{i}{mark and mark + era},code,{m},{int(i % 2 == 0)},{era}" for i in range(5) for m in ("a", "b")]
    path = tmp_path / "swap.csv"
    path.write_text("\n".join(lines) + "\n")
    assert swap_at(Problem(str(path))) == 5
    assert len(table_of(Problem(str(path), era="first"), 0).prompt_ids) == 5
    assert [c.section for c in design([str(path)], FULL)].count("swap") == 1


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)
    assert paired([1.0, 2.0, 9.0], [0.5, 1.5]).mean == 0.5
    assert interval([1.0]).low == -np.inf


def test_the_hull_mixes_two_models() -> None:
    cost, quality = np.array([1.0, 3.0, 2.0, np.nan]), np.array([0.2, 0.8, 0.3, 0.9])
    assert hull(cost, quality, 2.0) == pytest.approx(0.5)
    assert hull(cost, quality, 9.0) == 0.8
    assert hull(cost, quality, 0.5) == 0.2


def test_fixed_rules_serve_every_decision() -> None:
    stream = stream_of(SMALL, 0)
    assert all((a == b).all() for a, b in zip(fixed_rules(stream), singles(stream), strict=True))

    best = int(np.nanargmax(singles(stream)[1]))
    hard = np.flatnonzero(stream.quality.mean(axis=1) < np.median(stream.quality.mean(axis=1)))
    row, quality, cost = stream.row.copy(), stream.quality.copy(), stream.cost.copy()
    row[hard, best], quality[hard, best], cost[hard, best] = -1, np.nan, np.nan
    without = replace(stream, row=row, quality=quality, cost=cost)
    easy_only = float(singles(without)[1][best])
    served = fixed_rules(without)[1].max()
    assert served < easy_only
    at = np.where(row[:, best] >= 0, best, int(np.argsort(-singles(without)[1])[1]))
    assert served >= of_choice(without, at)["quality"] - 1e-12


def test_the_task_mix_is_never_below_the_hull() -> None:
    stream = stream_of(SMALL, 0)
    cost, quality = stream.cost.mean(axis=0), stream.quality.mean(axis=0)
    for budget in budgets(stream.table):
        assert task_mix(stream, float(budget)) >= hull(cost, quality, float(budget)) - 1e-9


def test_the_shuffled_control_costs_the_same_and_knows_no_task() -> None:
    stream = stream_of(SMALL, 0)
    knowing = np.where(stream.cost < stream.cost.mean(axis=1, keepdims=True), stream.quality, stream.quality - 0.1).argmax(axis=1)
    control, made = shuffled_control(stream, knowing), of_choice(stream, knowing)
    assert control["cost_usd"] == pytest.approx(made["cost_usd"], rel=1e-3)
    assert control["quality"] < made["quality"]
    one = np.full(len(stream), 2)
    assert shuffled_control(stream, one)["quality"] == pytest.approx(of_choice(stream, one)["quality"])


def test_a_broken_off_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "passes.jsonl"
    key = key_of(SMALL, "random", 0)
    Results(path).add(key, Pass(np.array([3, 1, 2]), 0.5, [{"decision": 7}]))
    with path.open("a") as file:
        file.write('{"key": "cut off')
    again = Results(path)
    assert key in again
    found = again.get(key)
    assert found is not None
    assert found.chosen.tolist() == [3, 1, 2]
    assert found.incidents == [{"decision": 7}]
    assert key_of(SMALL, "random", 1) not in again


def test_the_key_tells_code_tables_and_settings_apart() -> None:
    assert code_of("pointsman") != code_of("pointsman linucb")
    assert code_of("random") == code_of("epsilon-greedy"), "the same file, the same parameters"
    keys = {
        key_of(p, "random", 0) for p in (SMALL, replace(SMALL, cost_weight=0.1), replace(SMALL, feedback=0.2), replace(SMALL, budget=1))
    }
    assert len(keys) == 4
    assert json.loads(key_of(SMALL, "random", 0))["seed"] == 0


def test_scores_and_verdicts_come_from_the_passes(tmp_path: Path) -> None:
    results = Results(tmp_path / "passes.jsonl")
    cell = Cell(replace(SMALL, feedback=0.05), "feedback", ("pointsman", "epsilon-greedy", "random"), 2)
    for job in cell.passes():
        results.add(key_of(*job), play(*job))
    scores = read(cell, results)
    assert scores["oracle"]["quality"].mean() >= scores["best per task"]["quality"].mean() >= scores["best single"]["quality"].mean()
    assert scores["pointsman"].seeds == 2
    assert SHUFFLED in scores
    found = verdicts([(cell, scores)], summarise([[True] * 9 + [False]]))
    assert [v.point.split()[0] for v in found] == ["2", "6", "8"]
    assert found[-1].reached


def test_the_quick_design_is_a_small_one() -> None:
    quick, full = (sum(len(c.passes()) for c in design([SIMULATED], size)) for size in (QUICK, FULL))
    assert 0 < quick < full / 3
    assert len({key_of(*job) for cell in design([SIMULATED], QUICK) for job in cell.passes()}) == quick, "no pass is made twice"


@pytest.fixture
def telling(tmp_path: Path) -> str:
    """A table whose prompts tell which of two models is right."""
    rng, lines = np.random.default_rng(5), ["prompt_id,task_type,model,quality,prompt"]
    for i in range(900):
        topic, said = int(rng.integers(2)), " ".join(rng.choice([f"w{n}" for n in range(40)], 6))
        for m in range(2):
            good = float(rng.random() < (0.9 if m == topic else 0.3))
            lines.append(f"p{i},code,m/{m},{good},{said} {('sonnet rhyme', 'kernel driver')[topic]}")
    (tmp_path / "telling.csv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "telling.csv")


def test_pointsman_reads_prompts_as_a_contender_of_its_own_where_there_are_any(telling: str) -> None:
    for tables, texts, reads in (([telling], "hashed", True), ([telling], "off", False), ([SIMULATED], "hashed", False)):
        cells = [cell for cell in design(tables, QUICK, texts) if cell.section == "stationary"]
        assert any("pointsman hashed" in cell.contenders for cell in cells) is reads
        assert all("pointsman" in cell.contenders for cell in cells)
    problem = Problem(telling, prompts=700)
    stream = stream_of(problem, 0)
    plain, read = (of_choice(stream, play(problem, name, 0).chosen)["quality"] for name in ("pointsman", "pointsman hashed"))
    assert read > plain + 0.1
    assert code_of("pointsman") != code_of("pointsman hashed")


def test_tables_are_found_by_folder_and_by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    (tmp_path / "b.csv").touch()
    assert find_tables([str(tmp_path)]) == [str(tmp_path / "a.parquet")]
    assert find_tables([str(tmp_path / "b.csv")]) == [str(tmp_path / "b.csv")]
    monkeypatch.setenv("POINTSMAN_TABLES", str(tmp_path))
    assert find_tables([]) == [str(tmp_path / "a.parquet")]


def test_unknown_contenders_have_no_entry() -> None:
    with pytest.raises(StopIteration):
        entry("nobody")
