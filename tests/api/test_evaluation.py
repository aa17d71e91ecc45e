"""``/v1/evaluate`` and ``/v1/whatif`` on a running service, and the same from the command line."""

import json
from pathlib import Path

import httpx
import pytest

from router import bootstrap, config
from router.api.app import create_app
from router.cli.app import run


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url=f"sqlite:///{tmp_path}/pointsman.db", policy_parameters={"floor": 0.5}, durability="normal")
    app = create_app(await bootstrap.build(settings))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_a_candidate_is_compared_over_http_and_from_the_command_line(served: httpx.AsyncClient, capsys) -> None:
    models = ["anthropic/claude-3-haiku-20240307", "openai/gpt-4o"]
    for i in range(60):
        body = {"task_type": "summarization", "constraints": {"models": models}}
        decided = (await served.post("/v1/route", json=body)).json()["decision_id"]
        call = {"decision_id": decided, "latency_s": 1.0, "input_tokens": 500, "output_tokens": 200, "cost_usd": 0.001}
        assert (await served.post("/v1/outcomes", json=call)).status_code == 200
        assert (await served.post("/v1/feedback", json={"decision_id": decided, "score": i % 2})).status_code == 200
    told = (await served.post("/v1/evaluate", json={"policy": "thompson", "parameters": {"floor": 0.5}})).json()
    assert (told["decisions"], told["verdict"]) == (60, "no difference shown")
    assert told["quality"]["support"]["mean_weight"] == pytest.approx(1.0, abs=1e-6)
    ahead = (await served.post("/v1/whatif", json={"prices": {models[1]: {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}}})).json()
    assert {t["model"] for t in ahead["traffic"]} == set(models)
    refused = await served.post("/v1/evaluate", json={"policy": "magic"})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "policy")
    assert (await served.post("/v1/whatif", json={"without": ["nobody/nothing"]})).status_code == 404
    assert run(["evaluate", "--policy", "greedy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 60
    assert run(["whatif", "--cost-weight", "2", "--price", f"{models[0]}=1/2", "--cap", f"{models[1]}=0.2"]) == 0
    assert "what if" in capsys.readouterr().out
    assert run(["evaluate"]) == 2
    assert "name a policy" in capsys.readouterr().err
