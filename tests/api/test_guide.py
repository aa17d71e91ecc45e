"""``/v1/guide``, ``/v1/rules`` and pinned rules in a service that is built as it is run; the same from the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import yaml

from router import bootstrap, config, parts
from router.api.app import create_app
from router.cli.app import run
from router.domain.calling import Calling
from router.domain.catalog import load_shipped
from router.domain.rulebook import pinned as pin_rules
from router.domain.tasks import Task
from router.errors import ConfigurationInvalid
from router.storage import schema
from router.storage.sql import SqlStore
from tests.services.evidence import play

GEMINI, LLAMA = "google/gemini-2.0-flash", "cerebras/llama3.1-70b"


@pytest.fixture(autouse=True)
def logging_anew() -> None:
    structlog.reset_defaults()  # whoever configured it before wrote to a standard error that is closed by now


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log in which one model is clearly better at classification."""
    monkeypatch.chdir(tmp_path)
    made = f"sqlite:///{tmp_path / 'log.db'}"
    schema.upgrade(made)
    store = SqlStore(made, "normal")
    store.announce([model.id for model in load_shipped().models], 0.0)
    play(store, "classification", GEMINI, [1.0] * 36, usd=0.0001)
    play(store, "classification", LLAMA, [1.0, 0.0] * 18, usd=0.0006)
    store.close()
    return made


@asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(await bootstrap.build(config.load(database_url=url, durability="normal", **settings)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


async def test_the_guide_and_the_rules_over_http(url):
    async with serving(url) as client:
        guide = (await client.get("/v1/guide")).json()
        (task,) = guide["task_types"]
        assert (task["task_type"], task["recommended"]) == ("classification", GEMINI)
        assert guide["scores"] == 72
        told = await client.get("/v1/guide", params={"format": "markdown"})
        assert told.headers["content-type"].startswith("text/markdown")
        assert told.text.startswith("# Model selection guide")
        rows = await client.get(task["cells"][0]["evidence"]["query"].removeprefix("GET ") + "&limit=100")
        assert len(rows.json()["decisions"]) == 36
        rules = (await client.get("/v1/rules", params={"baseline": LLAMA})).json()
        assert rules["rules"]["classification"]["relative_to_baseline"]["baseline"] == LLAMA
        assert rules["pinned"] == {}
        assert (await client.get("/v1/guide", params={"format": "pdf"})).status_code == 422


@pytest.fixture
def pinned(url: str, tmp_path: Path) -> Path:
    """A rule that the operator knows better, made on the command line."""
    assert run(["rules", "export", "--database-url", url, "--out", "rules.yaml"]) == 0
    written = yaml.safe_load(Path("rules.yaml").read_text())
    rule = written["rules"]["classification"]
    rule["primary"], rule["alternatives"] = LLAMA, [{"model": GEMINI}]
    Path("rules.yaml").write_text(yaml.safe_dump(written))
    made = tmp_path / "pinned.yaml"
    assert run(["rules", "pin", "rules.yaml", "--task-type", "classification", "--out", str(made), "--database-url", url]) == 0
    return made


async def test_pinned_rules_replace_the_learner_for_their_task_types(url, pinned):
    async with serving(url, rules_file=pinned) as client:
        answer = (await client.post("/v1/route", json={"task_type": "classification", "context_tokens": 100})).json()
        assert (answer["model"], answer["policy"]["name"], answer["propensity"]) == (LLAMA, "pinned", 1.0)
        digest = (await client.get("/v1/rules")).json()["pinned"]["classification"]["sha256"]
        assert digest[:12] in answer["reason"]
        kept = (await client.get(f"/v1/decisions/{answer['decision_id']}")).json()
        assert kept["forced"]
        without = {"task_type": "classification", "context_tokens": 100, "constraints": {"exclude": [LLAMA]}}
        second = (await client.post("/v1/route", json=without)).json()
        assert second["model"] == GEMINI
        assert f"{LLAMA} is not eligible here" in second["reason"]
        free = (await client.post("/v1/route", json={"task_type": "sentiment", "context_tokens": 100})).json()
        assert free["policy"]["name"] == "thompson"
        none = {"task_type": "classification", "context_tokens": 100, "constraints": {"exclude": [LLAMA, GEMINI]}}
        assert (await client.post("/v1/route", json=none)).json()["policy"]["name"] == "thompson"


async def test_where_a_pinned_model_fails_the_next_one_of_its_rule_takes_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rule = {"primary": "openai/gpt-4o", "alternatives": [{"model": "deepinfra/01-ai/Yi-34B-Chat"}]}
    book = pin_rules({"format": 1, "rules": {"classification": rule}}, [], load_shipped())
    file = tmp_path / "pinned.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(book))
    services = await bootstrap.build(config.load(database_url="memory://", providers="scripted", rules_file=file))
    await services.start()
    task, calling = Task("classification", 100), Calling({})
    assert services.routing.decide(task, calling).model == "openai/gpt-4o"
    assert services.routing.next_best(task, calling, {"openai/gpt-4o"}) == "deepinfra/01-ai/Yi-34B-Chat"
    assert services.routing.next_best(task, calling, {*rule_models(rule)}) not in (None, *rule_models(rule))
    await services.close()


def rule_models(rule: dict[str, Any]) -> list[str]:
    return [rule["primary"], *(one["model"] for one in rule["alternatives"])]


def test_a_pinned_file_that_was_changed_is_refused(url, pinned):
    pinned.write_text(pinned.read_text().replace(f"primary: {LLAMA}", f"primary: {GEMINI}"))
    for file, reason in ((pinned, "changed after"), (Path("rules.yaml"), "not pinned"), (Path("none.yaml"), "cannot be read")):
        with pytest.raises(ConfigurationInvalid, match=reason) as error:
            parts.pins(config.load(database_url=url, rules_file=file))
        assert error.value.field == "rules_file"


def test_the_guide_is_written_with_its_pictures(url, capsys):
    assert run(["guide", "--database-url", url, "--out", "GUIDE.md"]) == 0
    assert "GUIDE.md" in capsys.readouterr().out
    assert Path("GUIDE.md").read_text().count("](GUIDE_files/classification.svg)") == 1
    assert Path("GUIDE_files/classification.svg").read_text().startswith("<svg")
    beside = json.loads(Path("GUIDE.json").read_text())
    assert beside["task_types"][0]["recommended"] == GEMINI
    assert run(["guide", "--database-url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == 72
    assert run(["guide", "--database-url", url, "--out", "no/such/folder/GUIDE.md"]) == 2
    assert "[out]" in capsys.readouterr().err


def test_a_diff_on_the_command_line(url, capsys):
    run(["rules", "export", "--database-url", url, "--out", "rules.yaml"])
    assert run(["rules", "diff", "rules.yaml", "--database-url", url]) == 0
    assert "nothing has changed" in capsys.readouterr().out
    store = SqlStore(url, "normal")
    play(store, "sentiment", LLAMA, [1.0] * 8)
    store.close()
    assert run(["rules", "diff", "rules.yaml", "--database-url", url, "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["task_type"], change["kind"]) == ("sentiment", "new")
    assert run(["rules", "export", "--baseline", "nobody/nothing", "--database-url", url]) == 2
