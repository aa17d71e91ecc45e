"""What Prometheus reads: every record counted once, bounded labels, and nothing that the example dashboard asks for missing."""

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services
from router.cli.app import run
from router.domain.events import Attempt, Feedback, Outcome, Status
from router.domain.keys import ApiKey, Budget, Scope
from router.domain.spending import DayStanding, Exhausted
from router.services.follower import Follower
from router.services.metrics import MOST_VALUES, Metrics, Readings
from tests.storage.conftest import Records

Read = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Read:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Read, name: str, **labels: str) -> float:
    """The sum of a metric over the series that have these labels."""
    return sum(v for (n, have), v in found.items() if n == f"pointsman_{name}" and labels.items() <= dict(have).items())


@asynccontextmanager
async def service(**settings: object) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    structlog.reset_defaults()  # an earlier test's service wrote to a stream that is closed by now
    services = await bootstrap.build(config.load(**({"database_url": "memory://", "log_level": "error"} | settings)))
    app = create_app(services)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost") as client,
    ):
        yield services, client


async def use(client: httpx.AsyncClient) -> str:
    decided = (await client.post("/v1/route", json={"task_type": "summarization", "context_tokens": 900})).json()
    call = {"decision_id": decided["decision_id"], "latency_s": 1.5, "ttft_s": 0.2, "cost_usd": 0.25, "input_tokens": 7, "output_tokens": 3}
    assert (await client.post("/v1/outcomes", json=call)).status_code == 200
    assert (await client.post("/v1/outcomes", json=call)).status_code == 200  # a repeat: counted once
    score = {"decision_id": decided["decision_id"], "score": 0.75, "judge": "tests"}
    assert (await client.post("/v1/feedback", json=score)).status_code == 200
    return str(decided["model"])


async def test_what_happened_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service() as (services, client):
        model = await use(client)
        assert (await client.get("/v1/decisions/dec_none")).status_code == 404
        assert (await client.get("/no/such/place")).status_code == 404
        answer = await client.get("/metrics")
        found = read(answer.text)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert value(found, "decisions_total", model=model, task_type="summarization", kind="drawn") == 1
    assert value(found, "outcomes_total", model=model, status="ok") == value(found, "outcomes_total") == 1
    assert value(found, "cost_usd_total", model=model) == 0.25
    assert (value(found, "tokens_total", direction="input"), value(found, "tokens_total", direction="output")) == (7, 3)
    assert value(found, "call_latency_seconds_bucket", model=model, le="2.0") == 1
    assert value(found, "call_latency_seconds_bucket", model=model, le="1.0") == 0
    assert value(found, "call_first_token_seconds_sum", model=model) == 0.2
    assert (value(found, "scores_total", judge="tests"), value(found, "score_points_total", model=model)) == (1, 0.75)
    assert value(found, "http_requests_total", route="/v1/outcomes", method="POST", status="200") == 2
    assert value(found, "http_requests_total", route="/v1/decisions/{decision_id}", status="404") == 1
    assert value(found, "http_requests_total", route="unmatched", status="404") == 1
    assert value(found, "http_request_duration_seconds_count", route="/v1/route") == 1
    assert value(found, "posterior_seq") <= services.training.seq
    assert value(found, "models_active") == len(services.models.catalog.active)
    assert value(found, "writer_queue_limit_records") == services.settings.write_queue_max


async def test_a_key_that_may_read_is_needed_where_there_are_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service() as (services, client):
        spends = ApiKey("", "spender", "", "", frozenset({Scope.READ}), time.time(), budget=Budget(8.0, "month"))
        made, token = await services.keys.create(spends)
        services.keys.settle(await services.keys.reserve(made.id, 2.0), 2.0)
        assert (await client.get("/metrics")).status_code == 401
        answer = await client.get("/metrics", headers={"authorization": f"Bearer {token}"})
        await services.keys.reserve(made.id, 2.0)
        found = read((await client.get("/metrics", headers={"authorization": f"Bearer {token}"})).text)
    assert answer.status_code == 200
    assert token not in answer.text
    assert value(found, "budget_limit_usd", key="spender") == 8.0
    assert value(found, "budget_drawn_usd", key="spender") >= 2.0


def counted(metrics: Metrics) -> Read:
    return read(metrics.exposition((), {}, time.time()).decode())


async def idle() -> None:
    return None


@pytest.fixture
def metrics() -> Metrics:
    nothing = Readings(
        lag_s=lambda: 0.0, digest=lambda: "00" * 16, leads=lambda: True,
        waiting=lambda: 0, most_waiting=10, lag=lambda: 0, seq=lambda: 0, tallied=lambda: 0, incidents=lambda: 2,
        resting=lambda: ("a/one",), active_models=lambda: 3, policy="thompson", release="1",
        day=lambda: DayStanding(5.0, 1.0, 100.0, 0.04, 0.0, Exhausted.CHEAPEST), allowances=lambda: {"exploration_usd": (0.01, 1.0)},
        parts=lambda: (Follower("training", idle, idle, retry_s=1.0),),
    )  # fmt: skip
    return Metrics(nothing)


def test_labels_are_bounded(metrics: Metrics) -> None:
    """Task types and judges are the callers' words: no caller makes more series than there is room for."""
    for i in range(MOST_VALUES + 50):
        metrics.written(Records.decision(f"d{i}", task_type=f"t{i}"))
        metrics.written(Feedback(f"f{i}", f"d{i}", f"judge {i}", "quality", 1.0, 0.0))
    found = counted(metrics)
    assert value(found, "decisions_total") == value(found, "scores_total") == MOST_VALUES + 50
    assert value(found, "decisions_total", task_type="other") == value(found, "scores_total", judge="other") == 50


def test_outcomes_of_other_services_decisions_are_remembered_within_bounds(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a load balancer decisions are taken here and their outcomes told there."""
    monkeypatch.setattr("router.services.metrics._REMEMBERED", 20)
    for i in range(100):
        metrics.written(Outcome(f"d{i}", Status.OK, 0.0, model="a/one"))
    assert len(metrics._decided) == 20
    metrics.written(Feedback("f", "d99", "tests", "quality", 1.0, 0.0))
    assert value(counted(metrics), "scored_total", model="a/one") == 1


def test_what_served_is_told_from_what_was_decided(metrics: Metrics) -> None:
    metrics.written(Records.decision("d1"))
    metrics.written(Attempt("d1", 1, "b/two", Status.ERROR, 0.0, last=False))
    metrics.written(Attempt("d1", 2, "a/one", Status.OK, 0.0))
    metrics.written(Outcome("d1", Status.OK, 0.0, "a/one", latency_s=1.0))
    metrics.written(Records.feedback("f1", "d1", 0.5))
    metrics.written(Records.feedback("f2", "long ago", 0.5))
    found = counted(metrics)
    assert value(found, "decisions_total", model="b/two") == 1
    assert value(found, "attempts_total", model="b/two", status="error") == value(found, "attempts_total", model="a/one", status="ok") == 1
    assert value(found, "outcomes_total", model="a/one", status="ok") == value(found, "cost_unknown_total", model="a/one") == 1
    assert value(found, "scored_total", model="a/one") == value(found, "scored_total", model="unknown") == 1
    assert (value(found, "circuit_open", model="a/one"), value(found, "incidents_open")) == (1, 2)


def test_failed_attempts_are_paid_where_they_were_billed_and_told_where_nobody_knows(metrics: Metrics) -> None:
    metrics.written(Records.decision("d1"))
    metrics.written(Attempt("d1", 1, "b/two", Status.ERROR, 0.0, last=False, error="ProviderDown", output_tokens=5, cost_usd=0.25))
    metrics.written(Attempt("d1", 2, "b/two", Status.ERROR, 0.0, last=False, error="RateLimited", http_status=429))
    metrics.written(Attempt("d1", 3, "b/two", Status.TIMEOUT, 0.0, error="ProviderTimeout"))
    metrics.written(Outcome("d1", Status.TIMEOUT, 0.0))
    metrics.written(Attempt("d2", 1, "a/one", Status.ERROR, 0.0, error="ProviderDown", output_tokens=5, cost_usd=0.5))
    metrics.written(Outcome("d2", Status.ERROR, 0.0, "a/one", cost_usd=0.5))
    found = counted(metrics)
    assert (value(found, "cost_usd_total", model="b/two"), value(found, "cost_usd_total", model="a/one")) == (0.25, 0.5)
    assert value(found, "cost_unknown_total", model="b/two") == value(found, "cost_unknown_total") == 1


def test_a_label_holds_any_text(metrics: Metrics) -> None:
    odd = 'a "quoted"\nline \\ stroke'
    metrics.written(Records.decision("d1", task_type=odd))
    assert value(counted(metrics), "decisions_total", task_type=odd) == 1


def test_the_example_dashboard_asks_for_what_there_is(metrics: Metrics, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each metric and each label that a panel names exists."""
    assert run(["grafana"]) == 0
    board = json.loads(capsys.readouterr().out)
    assert run(["grafana", "--output", str(tmp_path / "board.json")]) == 0
    assert json.loads((tmp_path / "board.json").read_text()) == board
    assert run(["grafana", "--output", str(tmp_path / "nowhere" / "board.json")]) == 2
    assert "the dashboard cannot be written (No such file or directory) [output]" in capsys.readouterr().err
    metrics.written(Records.decision("d1"))
    metrics.written(Attempt("d1", 1, "b/two", Status.OK, 0.0))
    metrics.written(Outcome("d1", Status.OK, 0.0, None, 1.0, 0.1, 5, 5, 0.1))
    metrics.written(Outcome("d2", Status.OK, 0.0))
    metrics.written(Records.feedback("f1", "d1"))
    metrics.requested("/v1/route", "POST", 200, 0.01)
    keys = [ApiKey("k", "k", "", "", frozenset({Scope.CHAT}), 0.0, budget=Budget(1.0, "day"))]
    labels: dict[str, set[str]] = {}
    for name, have in read(metrics.exposition(keys, {}, time.time()).decode()):
        labels.setdefault(name, set()).update(label for label, _ in have)
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) >= 20
    asked: set[str] = set()
    for query in queries:
        names = set(re.findall(r"\bpointsman_\w+", query))
        assert names, query
        asked |= names
        allowed = {"instance"} | set.union(*(labels.get(name, set()) for name in names))
        assert names <= labels.keys(), query
        assert set(re.findall(r"(\w+)(?==~|!=|=\")", query)) <= allowed, query
        assert {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")} <= allowed, query
    ours = {name for name in labels if name.startswith("pointsman_") and not name.endswith(("_created", "_sum", "_count"))}
    assert ours - asked <= {
        "pointsman_info", "pointsman_posterior_seq", "pointsman_tallied_seq", "pointsman_models_active",
        "pointsman_fold_lag_seconds", "pointsman_state_digest", "pointsman_leads",
    }  # fmt: skip
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
