"""``pointsman replay``: the JSON contract, the trace, order, budget, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.outcomes import MODELS, write_csv, write_parquet

KEYS = {
    "rows", "prompts", "models", "policy", "seed", "mean_quality", "mean_cost_usd", "mean_latency_s", "mean_utility", "last_quarter",
    "baselines", "shares", "budget", "decisions_per_s",
}  # fmt: skip
TRACE = ["i", "prompt_id", "task_type", "model", "propensity", "quality", "cost_usd", "latency_s", "utility", "feedback_given"]


def test_json_holds_the_contract_and_the_figures_of_the_trace(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "t.parquet", rows)
    done = pointsman("replay", table, "--seed", 3, "--cost-weight", 0.2, "--trace", tmp_path / "t.jsonl", "--json")
    assert (done.status, done.err) == (0, "")
    report = done.json
    assert report.keys() >= KEYS
    assert (report["rows"], report["prompts"], report["models"], report["policy"], report["seed"]) == (1200, 400, 3, "thompson", 3)
    assert report["last_quarter"].keys() == {"quality", "cost_usd", "latency_s", "utility"}
    assert report["baselines"].keys() >= {"random", "best_single", "best_per_task", "oracle"}
    for name in ("random", "best_single", "best_per_task", "oracle"):
        assert report["baselines"][name].keys() >= {"quality", "cost_usd", "utility"}
    assert report["budget"] == {"limit_usd": None, "spent_ratio": None}
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [TRACE] * 400
    assert [line["i"] for line in lines] == list(range(400))
    assert sorted(line["prompt_id"] for line in lines) == sorted({row["prompt_id"] for row in rows})
    for key, column in (("mean_quality", "quality"), ("mean_cost_usd", "cost_usd"), ("mean_utility", "utility")):
        assert report[key] == pytest.approx(sum(line[column] for line in lines) / 400)
    assert report["last_quarter"]["quality"] == pytest.approx(sum(line["quality"] for line in lines[300:]) / 100)
    assert sum(report["shares"].values()) == pytest.approx(1.0)
    true = {(row["prompt_id"], row["model"]): row for row in rows}
    assert all(line["quality"] == true[line["prompt_id"], line["model"]]["quality"] for line in lines)
    assert all(line["utility"] == pytest.approx(line["quality"] - 0.2 * line["cost_usd"] / MODELS["acme/dear"][2]) for line in lines)


def test_csv_and_parquet_give_the_same_pass_and_a_seed_repeats_it(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    tables = write_csv(tmp_path / "t.csv", rows), write_parquet(tmp_path / "t.parquet", rows), tmp_path / "t.parquet"
    reports = [pointsman("replay", table, "--json").json for table in tables]
    for report in reports:
        assert report.pop("decisions_per_s") > 0
    assert reports[0] == reports[1] == reports[2]
    other = pointsman("replay", tables[0], "--seed", 1, "--json").json
    assert other["mean_quality"] != reports[0]["mean_quality"]


def test_it_learns_and_the_table_for_people_says_so(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", rows)
    report = pointsman("replay", table, "--json").json
    assert report["mean_quality"] > report["baselines"]["random"]["quality"] + 0.08
    shown = pointsman("replay", table)
    assert shown.status == 0
    for expected in ("this pass", "random", "best single: acme/dear", "best per task type, in hindsight", "decisions per second"):
        assert expected in shown.out
    assert f"{report['mean_quality']:.3f}" in shown.out


def test_file_order_follows_the_eras(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    later = [row | {"era": "second"} for row in rows[:300]]
    table = write_csv(tmp_path / "t.csv", [row | {"era": "first"} for row in rows[:300]] + later)
    done = pointsman("replay", table, "--order", "file", "--trace", tmp_path / "t.jsonl", "--json")
    assert done.json["prompts"] == 200
    followed = [json.loads(line)["prompt_id"] for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert followed == [f"p{i}" for i in range(100)] * 2


def test_a_budget_is_kept_and_reported(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", rows)
    free = pointsman("replay", table, "--json").json
    bound = pointsman("replay", table, "--budget-usd-per-request", 0.003, "--json").json
    assert bound["budget"]["limit_usd"] == 0.003
    assert bound["budget"]["spent_ratio"] == pytest.approx(bound["mean_cost_usd"] / 0.003)
    assert bound["budget"]["spent_ratio"] < 1.25 < free["mean_cost_usd"] / 0.003  # a dear call costs several budgets


def test_feedback_rate_and_baseline(pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", rows)
    done = pointsman("replay", table, "--feedback-rate", 0.25, "--baseline", "acme/cheap", "--trace", tmp_path / "t.jsonl", "--json")
    told = [json.loads(line)["feedback_given"] for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert 70 < sum(told) < 130
    assert done.json["baselines"]["baseline"]["model"] == "acme/cheap"
    fixed = pointsman("replay", table, "--policy", "fixed", "--baseline", "acme/cheap", "--json").json
    assert fixed["shares"] == {"acme/cheap": 1.0}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--order", "sideways"), "order"),
        (("--policy", "oracle"), "policy"),
        (("--feedback-rate", "2"), "feedback-rate"),
        (("--quality-weight", "-1"), "quality-weight"),
        (("--quality-weight", "nan"), "quality-weight"),
        (("--budget-usd-per-request", "0"), "budget-usd-per-request"),
        (("--baseline", "acme/none"), "baseline"),
        (("--trace", "no/such/folder/t.jsonl"), "trace"),
        (("--seed", "x"), "--seed"),
        (("--sead", "1"), "--sead"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_field_and_remedy(
    pointsman: Command, rows: list[dict[str, Any]], tmp_path: Path, options: tuple[str, str], field: str
) -> None:
    refused = pointsman("replay", write_csv(tmp_path / "t.csv", rows), "--json", *options)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert field in refused.err
    assert ": " in refused.err.removeprefix("pointsman: ")  # the remedy follows


@pytest.mark.parametrize(
    ("text", "field"),
    [("", "table"), ("a,b\n1,2\n", "prompt_id"), ("prompt_id,task_type,model,quality\np,t,m,7\n", "quality"), (None, "table")],
)
def test_a_table_that_cannot_be_read_names_what_is_missing(pointsman: Command, tmp_path: Path, text: str | None, field: str) -> None:
    table = tmp_path / "t.csv"
    if text is not None:
        table.write_text(text)
    refused = pointsman("replay", table)
    assert (refused.status, refused.err.count("\n"), refused.out) == (2, 1, "")
    assert f"[{field}]" in refused.err
