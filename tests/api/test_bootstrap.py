"""The service as it is built for production: SQLite, the real learner, restarts, and a process that is told to stop."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from router import bootstrap, config, serving
from router.errors import ConfigurationInvalid, StorageUnavailable
from router.storage import schema
from router.testing.postgres import free_port
from tests.running import running


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    monkeypatch.chdir(tmp_path)
    return config.load(database_url=f"sqlite:///{tmp_path}/pointsman.db")


async def test_everything_survives_a_restart(settings: config.Settings) -> None:
    async with running(settings) as (client, services):
        await client.post("/v1/models", json={"id": "acme/new", "context_window": 9_000})
        await client.delete("/v1/models/acme/new")
        decided = (await client.post("/v1/route", json={"task_type": "summarization", "context_tokens": 900})).json()
        call = {"decision_id": decided["decision_id"], "latency_s": 1.0, "cost_usd": 0.001}
        assert (await client.post("/v1/outcomes", json=call)).status_code == 200
        score = {"decision_id": decided["decision_id"], "score": 1.0}
        assert (await client.post("/v1/feedback", json=score)).status_code == 200
        await services.training.settle()  # type: ignore[attr-defined]  # the real one, which the edge does not wait for
        before = (await client.get("/readyz")).json()
    assert (before["seq"], before["lag"], before["durability"], before["schema_revision"]) == (7, 0, "full", schema.REVISIONS[-1])
    async with running(settings) as (client, _):
        after = (await client.get("/readyz")).json()
        assert (after["seq"], after["digest"]) == (7, before["digest"])
        assert after["catalog"] == before["catalog"]
        story = (await client.get(f"/v1/decisions/{decided['decision_id']}")).json()
        assert (story["model"], story["outcome"]["cost_usd"], story["feedback"][0]["score"]) == (decided["model"], 0.001, 1.0)
        assert (await client.post("/v1/feedback", json=score)).json()["repeated"]


async def test_feedback_is_learned_and_a_retraction_is_unlearned(settings: config.Settings) -> None:
    async with running(settings) as (client, services):
        decided = (await client.post("/v1/route", json={"task_type": "summarization"})).json()

        async def quality() -> float:
            await services.training.settle()  # type: ignore[attr-defined]
            report = (await client.get("/v1/policy/summarization")).json()
            models = report["task_types"][0]["models"]
            found: float = next(model["quality"]["mean"] for model in models if model["model"] == decided["model"])
            return found

        prior = await quality()
        feedback = (await client.post("/v1/feedback", json={"decision_id": decided["decision_id"], "score": 0.0})).json()["feedback_id"]
        assert await quality() < prior
        await client.delete(f"/v1/feedback/{feedback}")
        assert await quality() == pytest.approx(prior, abs=1e-12)


async def test_added_model_is_chosen_and_unknown_policy_is_refused(settings: config.Settings) -> None:
    async with running(settings) as (client, _):
        await client.post("/v1/models", json={"id": "acme/new", "context_window": 9_000})
        only = {"task_type": "x", "constraints": {"models": ["acme/new"]}}
        chosen = (await client.post("/v1/route", json=only)).json()
        assert (chosen["model"], chosen["propensity"], chosen["fallback"]) == ("acme/new", 1.0, False)
        refused = await client.post("/v1/route", json={"task_type": "x", "policy": "xq7markerq7x"})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "policy")
        assert "xq7markerq7x" not in refused.text


async def test_memory_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(config.load(database_url="memory://")) as (client, _):
        assert (await client.post("/v1/route", json={"prompt": "Is 7 prime?"})).status_code == 200
        assert (await client.get("/readyz")).json()["durability"] == "none"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a coroutine, and pathlib is banned in those


async def test_unmigrated_database_is_refused_where_migration_is_off(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        await bootstrap.build(config.load(database_url=f"sqlite:///{tmp_path}/x.db", migrate=False))


async def test_unknown_policy_and_bad_catalogue_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        await bootstrap.build(config.load(database_url="memory://", policy="no_such_policy"))
    assert caught.value.remedy
    with pytest.raises(ConfigurationInvalid):
        await bootstrap.build(config.load(database_url="memory://", catalog_file=tmp_path / "missing.toml"))


def test_a_host_that_has_no_address_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        serving._listen(config.load(host="no..host"))
    assert caught.value.field == "host"
    assert "POINTSMAN_HOST" in (caught.value.remedy or "")


async def test_process_stops_in_order_when_it_is_told_to(tmp_path: Path) -> None:
    port = free_port()
    program = "import asyncio\nfrom router import config, serving\nasyncio.run(serving.serve(config.load()))\n"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(Path(bootstrap.__file__).parents[1])]),
        "POINTSMAN_DATABASE_URL": f"sqlite:///{tmp_path}/p.db",
        "POINTSMAN_PORT": str(port),
        "POINTSMAN_PROT": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            async with asyncio.timeout(120):
                while True:
                    try:
                        assert (await client.get("/readyz")).status_code == 200
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.1)
            assert (await client.post("/v1/route", json={"prompt": "xq7markerq7x is this prime?"})).status_code == 200
            assert (await client.post("/v1/route", content=b"x" * 2_000_000)).status_code == 413
        process.send_signal(signal.SIGTERM)
        _, logged = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    events = [json.loads(line)["event"] for line in logged.decode().splitlines()]
    assert events == ["settings.unknown_variable", "service.started", "training.snapshot_saved", "service.closed"]
    assert not re.search(rb"xq7markerq7x|Traceback", logged)
