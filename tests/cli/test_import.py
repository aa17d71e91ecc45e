"""``pointsman import``: exports of other gateways, by their own field names, and what becomes of them in the log."""

import asyncio
import csv
import gzip
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from learning.learner import Learner
from router import config, open_log
from router.domain.candidates import Candidate
from router.domain.events import Status
from router.domain.exports.calls import Asked
from router.domain.refold import fold_on
from router.domain.tallies import DAY_S
from router.recomputing import decide_again
from router.services.evaluation import EvaluationService
from router.services.importing import ImportRules, ImportService
from router.services.lift import LiftService
from tests.cli.conftest import Command
from tests.running import running

GPT4, MINI, FLASH = "openai/gpt-4", "openai/gpt-4o-mini", "google/gemini-2.5-flash"
SECRET = "the prompt that nobody may keep"
DATABASE = "sqlite:///log.db"


def spend(i: int, **changes: Any) -> dict[str, Any]:
    """A row of LiteLLM_SpendLogs."""
    return {
        "request_id": f"chatcmpl-{i}",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": 0.25,
        "total_tokens": 1300,
        "prompt_tokens": 1000,
        "completion_tokens": 300,
        "startTime": f"2026-11-01T10:{i // 60:02}:{i % 60:02}.000000+00:00",
        "completionStartTime": f"2026-11-01T10:{i // 60:02}:{i % 60:02}.500000+00:00",
        "endTime": f"2026-11-01T10:{i // 60 + 1:02}:{i % 60:02}.000000+00:00",
        "model": "gpt-4",
        "model_group": "chat",
        "custom_llm_provider": "openai",
        "metadata": {"spend_logs_metadata": {"rating": 5}},
        "cache_hit": "False",
        "request_tags": ["User-Agent: own", "taskName:summarization"],
        "messages": [{"role": "user", "content": SECRET}],
        "status": "success",
    } | changes


def failed(code: str, kind: str) -> dict[str, Any]:
    return {"status": "failure", "spend": 0.0, "metadata": {"error_information": {"error_code": code, "error_class": kind}}}


def as_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
    return path


def as_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    times = {"startTime", "completionStartTime", "endTime"}
    typed = [{k: datetime.fromisoformat(v) if k in times else v for k, v in row.items()} for row in rows]
    table = pa.Table.from_pylist(typed)
    for place, name in enumerate(table.column_names):
        if name in times:
            table = table.set_column(place, name, table[name].cast(pa.timestamp("ns", "UTC")))
    parquet.write_table(table, path)
    return path


def as_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_gzip(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    return packed


def test_a_packed_file_or_a_parquet_file_that_is_broken_is_told(pointsman: Command, tmp_path: Path):
    whole = as_gzip(as_lines(tmp_path / "a.jsonl", ROWS * 50)).read_bytes()
    parquet_file = as_parquet(tmp_path / "c.parquet", ROWS).read_bytes()
    for name, held, told in (
        ("a.jsonl.gz", whole[:-200], "is no whole gzip file"),
        ("b.jsonl.gz", b"no gzip at all", "is no whole gzip file"),
        ("c.parquet", parquet_file[:-50], "cannot be read as parquet"),
    ):
        (tmp_path / name).write_bytes(held)
        refused = pointsman("import", "litellm", tmp_path / name, *TASK, "--database-url", DATABASE)
        assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert told in refused.err
        assert "[file]" in refused.err
    parquet.write_table(pa.table({"model": ["gpt-4"]}), tmp_path / "d.parquet")
    refused = pointsman("import", "litellm", tmp_path / "d.parquet", *TASK, "--database-url", DATABASE)
    assert "[request_id]" in refused.err


TASK = ("--task-type-from", "taskName", "--score", "rating", "--scale", "1,5")
ROWS = [
    spend(0),
    spend(1, model="gpt-4o-mini", metadata={"rating": 2}),
    spend(2, model="gemini-2.5-flash", custom_llm_provider="gemini", spend=0.0),
    spend(3, **failed("408", "Timeout")),
    spend(4, **failed("500", "InternalServerError")),
    spend(5, **failed("400", "BadRequestError")),
    spend(6, call_type="aembedding"),
    spend(7, cache_hit="True"),
    spend(8, model="own-model", custom_llm_provider="ollama"),
    spend(9, prompt_tokens=-3),
    spend(10, request_tags=[]),
    spend(11, metadata={"rating": 9}),
]


@pytest.mark.parametrize("form", ["csv", "json", "object", "jsonl", "parquet", "csv.gz", "json.gz", "jsonl.gz"])
def test_a_spend_log_teaches_and_says_what_is_left_out(pointsman: Command, tmp_path: Path, form: str):
    form, _, packed = form.partition(".")
    if form == "csv":
        file = as_csv(tmp_path / "spend.csv", ROWS)
    elif form == "jsonl":
        file = as_lines(tmp_path / "spend.jsonl", ROWS)
    elif form == "parquet":
        file = as_parquet(tmp_path / "spend.parquet", ROWS)
    else:
        file = tmp_path / "spend.json"
        file.write_text(json.dumps(ROWS if form == "json" else {"data": ROWS, "total": len(ROWS)}, indent=1))
    if packed:
        file = as_gzip(file)
    made = pointsman("import", "litellm", file, *TASK, "--database-url", DATABASE, "--json").json
    assert (made["rows"], made["calls"], made["added"], made["already"], made["scores_added"]) == (12, 6, 6, 0, 3)
    assert made["parts"] == [
        {"model": FLASH, "task_type": "summarization", "calls": 1, "failed": 0, "scored": 1},
        {"model": GPT4, "task_type": "summarization", "calls": 4, "failed": 2, "scored": 1},
        {"model": MINI, "task_type": "summarization", "calls": 1, "failed": 0, "scored": 1},
    ]
    left = {reason["reason"]: reason for reason in made["left_out"]}
    assert set(left) == {
        "the request itself was refused",
        "call_type is not that of a completion",
        "answered from LiteLLM's cache",
        "the catalogue has no model ollama/own-model",
        "prompt_tokens is no number of at least 0",
        "nothing says taskName",
        "the score is out of range (only the score)",
    }
    assert "--map ollama/own-model=PROVIDER/NAME" in left["the catalogue has no model ollama/own-model"]["remedy"]
    if form in ("csv", "jsonl"):
        assert left["prompt_tokens is no number of at least 0"]["first"] == f"{file.name}:{10 + (form == 'csv')}"
    with open_log(DATABASE) as log:
        records = {record.decision.model: record for record in log.records()}
        assert {r.decision.propensity for r in records.values()} == {1.0}
        assert all(r.decision.forced and r.decision.policy == "imported" for r in records.values())
        first = min(log.records(), key=lambda record: record.seq)
        assert first.outcome is not None
        assert (first.outcome.latency_s, first.outcome.ttft_s, first.outcome.cost_usd) == (60.0, 0.5, 0.25)
        assert dict(first.decision.tags) == {"imported": "litellm", "made": "2026-11-01T10:00:00+00:00"}
        assert first.feedback[0]["judge"] == "litellm/rating"
        assert first.feedback[0]["score"] == 1.0
        flash = records[FLASH].outcome
        assert flash is not None
        assert flash.cost_usd is None  # LiteLLM writes 0 where it knows no price
        statuses = [r.outcome.status for r in log.records() if r.outcome is not None]
        assert (statuses.count(Status.TIMEOUT), statuses.count(Status.ERROR)) == (1, 1)
        assert log.audit(first.decision.id).why_not == "no policy drew it: it was set by imported"
    kept = b"".join(part.read_bytes() for part in tmp_path.glob("log.db*"))
    assert SECRET.encode() not in kept
    assert b"88dc28d0f030c55" not in kept


def test_the_same_file_again_adds_nothing_and_a_score_given_since_is_added(pointsman: Command, tmp_path: Path):
    rows = [spend(i, metadata={}) for i in range(400)]
    file = as_lines(tmp_path / "a.jsonl", [*rows, rows[0]])  # a call that is there twice
    first = pointsman("import", "litellm", file, *TASK, "--database-url", DATABASE, "--json").json
    assert (first["calls"], first["added"], first["already"]) == (401, 400, 1)
    assert "nothing is said of quality (no call has a score rating)" in first["notes"][0]
    with open_log(DATABASE) as log:
        end = log.store.last_seq()
    again = pointsman("import", "litellm", file, *TASK, "--database-url", DATABASE)
    assert "0 calls and 0 scores were added; 401 calls were in the log already" in again.out
    with open_log(DATABASE) as log:
        assert log.store.last_seq() == end
    scored = as_lines(tmp_path / "b.jsonl", [rows[0] | {"metadata": {"rating": 5}}])
    later = pointsman("import", "litellm", scored, *TASK, "--database-url", DATABASE, "--json").json
    assert (later["added"], later["already"], later["scores_added"]) == (0, 1, 1)
    other = as_lines(tmp_path / "c.jsonl", [rows[0] | {"metadata": {"rating": 1}}])
    differ = pointsman("import", "litellm", other, *TASK, "--database-url", DATABASE, "--json").json
    assert (differ["scores_added"], differ["scores_differ"]) == (0, 1)


def test_a_dry_run_writes_nothing(pointsman: Command, tmp_path: Path):
    file = as_lines(tmp_path / "a.jsonl", ROWS)
    dry = pointsman("import", "litellm", file, *TASK, "--database-url", DATABASE, "--dry-run")
    assert dry.status == 0
    assert "Nothing was written" in dry.out
    assert "6 calls in 12 rows" in dry.out
    with open_log(DATABASE) as log:
        assert log.store.last_seq() == 0
    assert pointsman("import", "litellm", file, *TASK, "--database-url", "memory://", "--dry-run", "--json").json["calls"] == 6
    assert pointsman("import", "litellm", file, *TASK, "--database-url", "memory://").status == 2


def generation(i: int, **changes: Any) -> dict[str, Any]:
    """A row of observations_v2/ of Langfuse's blob storage export."""
    return {
        "id": f"obs-{i}",
        "trace_id": f"trace-{i}",
        "project_id": "p",
        "type": "GENERATION",
        "start_time": f"2026-11-02 08:00:{i:02}.000000",
        "end_time": f"2026-11-02 08:01:{i:02}.500000",
        "completion_start_time": None,
        "name": "summarize",
        "level": "DEFAULT",
        "input": SECRET,
        "metadata": {"task": "summarization"},
        "provided_model_name": "gpt-4",
        "usage_details": {"input": 900, "output": 120, "total": 1020},
        "total_cost": 0.031,
        "latency": 60500,
        "tags": [],
    } | changes


def score(target: str, value: float, **changes: Any) -> dict[str, Any]:
    """A row of scores/ of the same export."""
    return {
        "id": f"s-{target}-{value}",
        "timestamp": "2026-11-02 09:00:00.000000",
        "trace_id": target.replace("obs", "trace"),
        "observation_id": target if target.startswith("obs") else None,
        "name": "helpful",
        "value": value,
        "data_type": "NUMERIC",
        "string_value": None,
    } | changes


def test_langfuse_joins_observations_and_scores(pointsman: Command, tmp_path: Path):
    observations = as_lines(
        tmp_path / "observations.jsonl",
        [
            generation(0),
            generation(1),
            generation(2, trace_id="trace-shared", level="ERROR"),
            generation(3, trace_id="trace-shared"),
            generation(4, type="SPAN", provided_model_name=""),
            generation(5),
        ],
    )
    scores = as_lines(
        tmp_path / "scores.jsonl",
        [
            score("obs-0", 0.25),
            score("obs-0", 0.75, timestamp="2026-11-02 10:00:00.000000"),  # given later: it counts
            score("trace-1", 1, data_type="BOOLEAN"),
            score("trace-shared", 0.5),
            score("obs-5", 1, data_type="CATEGORICAL", string_value="good"),
            score("obs-5", 0.9, name="toxic"),
            score("obs-77", 0.9),
        ],
    )
    asked = ("--map", f"gpt-4={GPT4}", "--task-type-from", "task", "--score", "helpful", "--database-url", DATABASE)
    made = pointsman("import", "langfuse", observations, scores, *asked, "--json").json
    assert made["parts"] == [{"model": GPT4, "task_type": "summarization", "calls": 5, "failed": 1, "scored": 2}]
    assert {reason["reason"]: reason["rows"] for reason in made["left_out"]} == {
        "type is not GENERATION": 1,
        "a score of several calls together (only the score)": 1,
        "the score is no number and no boolean": 1,
        "a score of another name": 1,
        "a score of no call in the files": 1,
        "a later score of the same call counts": 1,
    }
    with open_log(DATABASE) as log:
        records = sorted(log.records(), key=lambda record: record.seq)
        assert [[f["score"] for f in r.feedback] for r in records] == [[0.75], [1.0], [], [], []]
        assert records[0].outcome is not None
        assert (records[0].outcome.latency_s, records[0].outcome.input_tokens, records[0].outcome.cost_usd) == (60.5, 900, 0.031)


def test_langfuse_reads_what_its_interface_and_its_api_export(pointsman: Command, tmp_path: Path):
    row = {
        "id": "a", "traceId": "t", "type": "GENERATION", "startTime": "2026-11-02T08:00:00.000Z", "endTime": "2026-11-02T08:00:02.000Z",
        "model": "gpt-4", "inputUsage": 10, "outputUsage": 5, "totalCost": 0.002, "level": "DEFAULT", "traceTags": ["task:quick_qa"],
        "helpful": [0.5, 1.0],
    }  # fmt: skip
    file = as_csv(tmp_path / "export.csv", [row])
    asked = ("--map", f"gpt-4={GPT4}", "--task-type-from", "task", "--score", "helpful", "--database-url", DATABASE, "--json")
    made = pointsman("import", "langfuse", file, *asked).json
    assert made["parts"] == [{"model": GPT4, "task_type": "quick_qa", "calls": 1, "failed": 0, "scored": 1}]
    with open_log(DATABASE) as log:
        (record,) = log.records()
        assert record.feedback[0]["score"] == 0.75
    api = {k: v for k, v in row.items() if k not in ("id", "inputUsage", "outputUsage")} | {"id": "b", "usage": {"input": 7, "output": 3}}
    (tmp_path / "api.json").write_text(json.dumps({"data": [api], "meta": {"page": 1}}))
    assert pointsman("import", "langfuse", tmp_path / "api.json", *asked).json["added"] == 1


def uuid(n: int) -> str:
    return f"0192ced0-a8a4-7472-8a02-{n:012x}"


def test_tensorzero_joins_its_tables(pointsman: Command, tmp_path: Path):
    def inference(n: int, function: str) -> dict[str, Any]:
        return {"id": uuid(n), "function_name": function, "variant_name": "v", "episode_id": uuid(900 + n), "input": SECRET, "tags": {}}

    def call(n: int, inference: int, **changes: Any) -> dict[str, Any]:
        return {
            "id": uuid(100 + n), "inference_id": uuid(inference), "raw_request": SECRET, "model_name": "openai::gpt-4",
            "model_provider_name": "openai", "input_tokens": 700, "output_tokens": 60, "response_time_ms": 1500, "ttft_ms": None,
            "cost": "0.012000000", "cached": False,
        } | changes  # fmt: skip

    def metric(n: int, target: int, value: object, name: str = "exact_match") -> dict[str, Any]:
        return {"id": uuid(200 + n), "target_id": uuid(target), "metric_name": name, "value": value, "tags": {}}

    rows = [
        metric(0, 1, True), metric(1, 902, 0.25), metric(2, 3, True, "other"),
        call(0, 1), call(1, 2), call(2, 3, cached=True), call(3, 3, model_name="mini", model_provider_name="azure"), call(4, 7),
        inference(1, "extraction"), inference(2, "write haiku"), inference(3, "extraction"),
    ]  # fmt: skip
    file = as_lines(tmp_path / "all.jsonl", rows)
    asked = ("--map", f"mini={MINI}", "--score", "exact_match", "--database-url", DATABASE, "--json")
    made = pointsman("import", "tensorzero", file, *asked, "--task-type-from", "function_name", "--dry-run").json
    assert {reason["reason"]: reason["rows"] for reason in made["left_out"]} == {
        "nothing says function_name": 2,  # one whose name is none, one that no table tells of
        "function_name is no name of a task type": 1,
        "answered from TensorZero's cache": 1,
        "a metric of another name": 1,
        "a score of no call in the files": 1,  # of the one whose name is none
    }
    made = pointsman("import", "tensorzero", file, *asked, "--task-type", "haiku").json
    assert {(p["model"], p["calls"], p["scored"]) for p in made["parts"]} == {(GPT4, 3, 2), (MINI, 1, 0)}
    with open_log(DATABASE) as log:
        first = min(log.records(), key=lambda record: record.seq)
        assert first.outcome is not None
        assert (first.outcome.latency_s, first.outcome.cost_usd, first.feedback[0]["score"]) == (1.5, 0.012, 1.0)
        assert dict(first.decision.tags)["made"] == "2024-10-27T16:30:34+00:00"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"model,spend\ngpt-4,1\n", "has no column request_id [request_id]"),
        ("a.csv", b"", "has no column request_id"),
        ("a.jsonl", b"\xff\xfe\x00garbage", "is not text in UTF-8"),
        ("a.json", b'[{"request_id": "a"}, {"request_id": ', "is no JSON from line 1 on"),
        ("a.jsonl", b"no json\n[1, 2]\n\n{\n", "no row of the files can be imported"),
        ("a.jsonl", b"", "no row of the files can be imported"),
        ("a.jsonl", b'{"request_id": "a", "model": "m", "startTime": 1e300}', "can be imported"),
        ("a.jsonl", b'{"request_id": "b", "model": "m", "spend": 1' + b"0" * 400 + b"}", "can be imported"),
        ("a.jsonl", b'{"request_id": "\\ud800", "model": "\\ud800\\u001b[31m", "metadata": 7, "request_tags": 7}', "can be imported"),
    ],
)  # fmt: skip
def test_garbage_is_refused_with_its_place(pointsman: Command, tmp_path: Path, name: str, content: bytes, told: str):
    (tmp_path / name).write_bytes(content)
    ran = pointsman("import", "litellm", tmp_path / name, "--task-type", "x", "--database-url", DATABASE)
    assert ran.status == 2
    assert told in ran.err
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "[task-type]"),
        (("--task-type-from", "messages"), "[task-type-from]"),
        (("--task-type", "x", "--map", "gpt-4"), "[map]"),
        (("--task-type", "x", "--map", "gpt-4=openai/none"), "[model]"),
        (("--task-type", "x", "--scale", "1,1"), "[scale]"),
        (("--task-type", "x", "--scale", "1"), "[scale]"),
        (("--task-type", "x", "--score", "a b"), "[score]"),
        (("--task-type", "two words"), "[task-type]"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(pointsman: Command, tmp_path: Path, options: tuple[str, ...], told: str):
    file = as_lines(tmp_path / "a.jsonl", ROWS)
    ran = pointsman("import", "litellm", file, *options, "--database-url", DATABASE)
    assert ran.status == 2
    assert told in ran.err
    assert pointsman("import", "other", file, "--task-type", "x", "--database-url", DATABASE).err.count("[gateway]") == 1
    assert pointsman("import", "litellm", "none.csv", "--task-type", "x", "--database-url", DATABASE).err.count("[file]") == 1


def test_what_was_imported_teaches_and_is_no_traffic_and_no_spending(pointsman: Command, tmp_path: Path):
    rows = [
        spend(i, model=("gpt-4", "gpt-4o-mini")[i % 2], spend=5.0, metadata={"rating": (1, 5)[i % 2]}, request_tags=["taskName:quick_qa"])
        for i in range(200)
    ]
    newest_first = as_lines(tmp_path / "a.jsonl", rows[::-1])
    turned = pointsman("import", "litellm", newest_first, *TASK, "--database-url", DATABASE, "--dry-run", "--json").json
    assert "from new to old" in turned["notes"][0]
    file = as_lines(tmp_path / "b.jsonl", rows)
    assert pointsman("import", "litellm", file, *TASK, "--database-url", DATABASE, "--json").json["added"] == 200
    settings = config.load(database_url=DATABASE, durability="normal", budget_usd_per_day=1.0, holdback_share=0.2, baseline_model=GPT4)
    asked = {"task_type": "quick_qa", "context_tokens": 1000, "weights": {"quality": 1.0, "cost": 0.0, "latency": 0.0}}

    async def serve() -> None:
        async with running(settings) as (client, services):
            decided = (await client.post("/v1/route", json=asked)).json()
            assert decided["policy"]["name"] != "budget"  # a thousand dollars were spent, and none of them here
            more = [spend(i, spend=5.0) for i in range(200, 210)]
            rules = ImportRules("litellm", Asked("quick_qa"), {})
            importing = ImportService(services.store, services.models.catalog, clock=time.time)
            assert importing.run(rules, [as_lines(tmp_path / "c.jsonl", more)]).added == 10
            await services.training.settle()  # it is folded beside requests, too
            decided = (await client.post("/v1/route", json=asked)).json()
            assert decided["policy"]["name"] != "budget"
            assert "pointsman_day_spent_usd 0.0" in (await client.get("/metrics")).text
            listed = (await client.get("/v1/decisions", params={"model": MINI})).json()["decisions"]
            imported = next(one["decision_id"] for one in listed if one["decision_id"].startswith("imported_"))
            assert (await client.get(f"/v1/decisions/{imported}")).status_code == 200
            assert (await client.get(f"/decisions/{imported}")).status_code == 200

    asyncio.run(serve())
    with open_log(DATABASE) as log:
        store, policy = log.store, log.regime.policy
        known = {m.model: m for m in log.preferences("quick_qa").task_types[0].models}
        assert known[MINI].quality.mean > known[GPT4].quality.mean + 0.2
        while store.count_on(10_000) < store.last_seq():
            pass
        assert sum(line.sums.decisions for line in store.tallies(DAY_S, 0.0, "task_type")) == 2  # the two that were asked for
        assert sum(line.sums.cost_usd for line in store.tallies(DAY_S, 0.0, "task_type")) == 0.0
        assert sum(line.sums.weight for line in store.tallies(DAY_S, 0.0, "task_type")) == 0.0
        assert {(j.judge, j.scores) for j in store.judged()} == {("litellm/rating", 100)}
        made = EvaluationService(store, decide_again, lambda: log.catalog).evaluate(Candidate(policy="greedy"))
        assert made.decisions + made.not_drawn == 212
        assert made.not_drawn >= 210
        assert sum(LiftService(store).lift().decisions) == 2
        at_once = Learner(policy["half_life_records"], trusted=tuple(policy["trusted_judges"]))
        fold_on(store, at_once, store.last_seq(), ())
        assert at_once.digest() == log.learner.digest()
