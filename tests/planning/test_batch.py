"""Plans over HTTP and on the command line: from a real service's and a database's learned state."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import bootstrap, config
from router.api.app import create_app
from router.cli.app import run
from router.domain.catalog import Catalog
from router.domain.events import Feedback, Outcome, Status
from router.domain.ids import new_id
from router.domain.tasks import Task
from router.testing import Stub
from tests.gateway.conftest import Gateway

CATALOG = """
[[models]]
id = "cheap/small"
family = "small"
context_window = 128000
price = { input = 0.1, output = 0.2 }
[[models]]
id = "dear/large"
family = "large"
context_window = 128000
modalities = ["text", "image"]
price = { input = 5.0, output = 15.0 }
"""
QUALITY = {("classification", "cheap/small"): 0.9, ("classification", "dear/large"): 0.9,
           ("math_reasoning", "cheap/small"): 0.2, ("math_reasoning", "dear/large"): 0.9}  # fmt: skip
JOB: dict[str, Any] = {
    "goal": "cheapest",
    "baseline": "dear/large",
    "limits": {"min_quality": 0.8},
    "agents": [
        {"name": "triage", "task_type": "classification", "count": 6, "context_tokens": 500},
        {"name": "proofs", "task_type": "math_reasoning", "count": 2, "context_tokens": 500, "calls": 2},
    ],
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.toml").write_text(CATALOG)
    monkeypatch.setattr("router.domain.catalog.load_shipped", lambda: Catalog())
    monkeypatch.setenv("POINTSMAN_CATALOG_FILE", "models.toml")
    return config.load(database_url=f"sqlite:///{tmp_path / 'log.db'}", durability="normal", log_level="error")


async def taught(settings: config.Settings) -> None:
    """Give a new log the outcomes and scores of calls with known qualities."""
    services = await bootstrap.build(settings)
    await services.start()
    routing: Any = services.routing
    try:
        for number in range(40):
            for (task_type, model), quality in QUALITY.items():
                [decision] = routing.planned(Task(task_type, 500), model, 1, "taught")
                await services.writer.write(decision)  # type: ignore[attr-defined]
                await services.writer.write(  # type: ignore[attr-defined]
                    Outcome(decision.id, Status.OK, 1.0, latency_s=1.0, input_tokens=500, output_tokens=200)
                )
                score = min(1.0, max(0.0, quality + (0.05 if number % 2 else -0.05)))
                await services.writer.write(Feedback(new_id("fb"), decision.id, "teacher", "quality", score, 1.0))  # type: ignore[attr-defined]
        await services.training.settle()  # type: ignore[attr-defined]
    finally:
        await services.close()


async def test_a_batch_is_planned_from_what_was_learned_and_logged(settings: config.Settings) -> None:
    await taught(settings)
    app = create_app(await bootstrap.build(settings))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        dry = (await client.post("/v1/route/batch", json=JOB | {"dry_run": True})).json()
        assert {(line["agents"], line["model"], line["count"]) for line in dry["assigned"]} >= {("proofs", "dear/large", 2)}
        assert dry["decisions"] == []
        assert {line["scores"] for line in dry["assigned"]} == {40}
        assert dry["totals"]["quality"]["mean"] >= 0.8
        assert dry["comparisons"][0]["model"] == "dear/large"
        assert 0 < dry["comparisons"][0]["cost_ratio"] < 0.6

        logged = (await client.post("/v1/route/batch", json=JOB)).json()
        assert logged["assigned"] == dry["assigned"]
        assert len(logged["decisions"]) == 8
        told = logged["decisions"][0]
        decision = (await client.get(f"/v1/decisions/{told['decision_id']}")).json()
        assert (decision["model"], decision["propensity"], decision["policy"]["name"]) == (told["model"], 1.0, "plan")
        scored = await client.post("/v1/feedback", json={"decision_id": told["decision_id"], "score": 0.9, "judge": "unit-tests"})
        assert scored.status_code == 200

        refused = await client.post("/v1/route/batch", json=JOB | {"limits": {"budget_usd": 1e-6}})
        assert refused.status_code == 422
        assert refused.json()["error"]["message"].startswith("the budget of $0.000001 ")
        drawn = await client.post("/v1/route/batch", json={"agents": [{"task_type": "math_reasoning", "policy": "thompson"}]})
        assert drawn.json()["error"]["field"] == "agents[0].policy"
        nobody = await client.post(
            "/v1/route/batch", json={"agents": [{"name": "readers", "task_type": "quick_qa", "context_tokens": 10_000_000}]}
        )
        assert "readers" in nobody.json()["error"]["message"]


async def test_the_command_line_plans_from_a_database(settings: config.Settings, capsys: pytest.CaptureFixture[str]) -> None:
    await taught(settings)
    Path("job.yaml").write_text(json.dumps(JOB))  # noqa: ASYNC240 - JSON is YAML; nothing else runs on this loop
    arguments = ["plan", "job.yaml", "--database-url", settings.database_url]
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["comparisons"][0]["cost_ratio"] < 0.6
    assert made["totals"]["quality"]["mean"] >= 0.8
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "all on dear/large" in shown
    assert "quality: (" in shown
    assert run([*arguments, "--budget-usd", "0.000001"]) == 2
    assert "the budget of $0.000001" in capsys.readouterr().err


def test_the_command_line_plans_from_a_running_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Stub() as stub:
        gateway = Gateway(tmp_path, stub).start()
        try:
            Path("job.yaml").write_text("agents: [{task_type: quick_qa, count: 3, context_tokens: 100, constraints: {models: [beta/two]}}]")
            capsys.readouterr()  # the service's log
            assert run(["plan", "job.yaml", "--url", gateway.address, "--json"]) == 0
            made = json.loads(capsys.readouterr().out)
            assert [(line["model"], line["count"]) for line in made["assigned"]] == [("beta/two", 3)]
            assert gateway.rows("select count(*) from decisions") == [(0,)]
            assert run(["plan", "job.yaml", "--url", gateway.address, "--budget-usd", "0.0"]) == 2
            assert "the budget of $0 cannot be met" in capsys.readouterr().err
        finally:
            gateway.stop()
        assert run(["plan", "job.yaml", "--url", gateway.address]) == 2
        assert "does not answer" in capsys.readouterr().err
        assert run(["plan", "job.yaml", "--url", "file:///etc/passwd"]) == 2


@pytest.mark.parametrize(("name", "agents", "groups"), [("28-agents", 28, 5), ("180-agents", 180, 6)])
def test_the_examples_ship_and_can_be_planned(
    name: str, agents: int, groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["plan", name, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["agents"] == agents
    assert {line["group"] for line in made["assigned"]} == set(range(groups))
    assert all(limit["used"] <= limit["at_most"] * (1 + 1e-6) for limit in made["limits"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents: [", "not YAML at line 1"),
        ("[]", "no mapping"),
        ("agents: []", "[agents]"),
        ("agents: [{task_type: x, cuont: 3}]", "[agents[0].cuont]"),
        ("agents: [{task_type: x}]\nlimits: {budget: 3}", "[limits.budget]"),
    ],
)
def test_a_faulty_file_is_refused_by_field(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(text)
    assert run(["plan", "job.yaml"]) == 2
    assert message in capsys.readouterr().err
    assert run(["plan", "nowhere.yaml"]) == 2
    assert "28-agents" in capsys.readouterr().err
