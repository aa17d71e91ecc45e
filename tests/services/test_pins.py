"""Task types are pinned while services run: over a rules file, over restarts, on every service of the database, and lifted again."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from router import config
from router.api.views.pins import LiftedPin, PinList, PinView
from router.cli.app import run
from router.domain.catalog import load_shipped
from router.domain.pins import digest_of
from router.domain.rulebook import pinned as pin_rules
from router.recomputing import decide_again
from router.services.audit import AuditService
from tests.replicas.test_replicas import replicas
from tests.running import running
from tests.services.test_overrides import until

GEMINI, LLAMA, GPT = "google/gemini-2.0-flash", "cerebras/llama3.1-70b", "openai/gpt-4o"
FILE = {"primary": GPT, "alternatives": [{"model": GEMINI}]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    """A file that pins classification."""
    made = tmp_path / "pinned.yaml"
    made.write_text(yaml.safe_dump(pin_rules({"format": 1, "rules": {"classification": FILE}}, [], load_shipped())))
    return made


async def pin(client: httpx.AsyncClient, task_type: str, *models: str) -> dict[str, Any]:
    answer = await client.put(f"/v1/pins/{task_type}", json={"models": list(models)})
    assert answer.status_code == 200, answer.text
    PinView.model_validate_json(answer.content, strict=True)
    told: dict[str, Any] = answer.json()
    return told


async def decided(client: httpx.AsyncClient, task_type: str, **constraints: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"task_type": task_type, "context_tokens": 100}
    answer = await client.post("/v1/route", json=body | ({"constraints": constraints} if constraints else {}))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_pin_holds_at_once_and_after_a_restart_until_it_is_lifted(tmp_path: Path) -> None:
    settings = config.load(database_url=f"sqlite:///{tmp_path}/p.db", durability="normal")
    async with running(settings) as (client, _):
        assert (await client.get("/v1/pins")).json() == {"pins": []}
        made = (await client.post("/v1/keys", json={"name": "operator", "scopes": ["admin", "route", "read"]})).json()
        client.headers["Authorization"] = bearer = f"Bearer {made['key']}"
        told = await pin(client, "team/quick", LLAMA, GEMINI)
        rule = {"primary": LLAMA, "alternatives": [{"model": GEMINI}]}
        assert told["sha256"] == digest_of({"team/quick": rule}), "as a file with this rule alone"
        assert (told["source"], told["file"], told["key_id"], told["at"] > 0) == ("run time", None, made["id"], True)
        first = await decided(client, "team/quick")
        assert (first["model"], first["policy"]["name"], first["propensity"]) == (LLAMA, "pinned", 1.0)
        assert told["sha256"][:12] in first["reason"]
        second = await decided(client, "team/quick", exclude=[LLAMA])
        assert (second["model"], second["policy"]["name"]) == (GEMINI, "pinned")
        assert (await decided(client, "team/quick", exclude=[LLAMA, GEMINI]))["policy"]["name"] == "thompson"
        assert (await decided(client, "quick_qa"))["policy"]["name"] == "thompson"
        assert (await client.get("/v1/rules")).json()["pinned"] == {"team/quick": {"models": [LLAMA, GEMINI], "sha256": told["sha256"]}}
    async with running(settings) as (client, services):
        client.headers["Authorization"] = bearer
        assert (await client.get("/v1/pins")).json() == {"pins": [told]}
        assert (await decided(client, "team/quick"))["model"] == LLAMA
        for _ in range(2):
            lifted = await client.delete("/v1/pins/team%2Fquick")
            assert (lifted.status_code, lifted.json()) == (200, {"task_type": "team/quick", "pin": None})
            LiftedPin.model_validate_json(lifted.content, strict=True)
        assert (await decided(client, "team/quick"))["policy"]["name"] == "thompson"
        assert [(one.name, one.value) for one in services.store.overrides(0)] == [("team/quick", [LLAMA, GEMINI]), ("team/quick", None)]


async def test_a_pin_stands_over_the_rules_file_until_it_is_lifted(tmp_path: Path, rules_file: Path) -> None:
    settings = config.load(database_url=f"sqlite:///{tmp_path}/p.db", durability="normal", rules_file=rules_file)
    async with running(settings) as (client, _):
        (of_file,) = (await client.get("/v1/pins")).json()["pins"]
        assert (of_file["source"], of_file["models"], of_file["at"], of_file["key_id"]) == ("file", [GPT, GEMINI], None, None)
        refused = await client.delete("/v1/pins/classification")
        assert (refused.status_code, "rules file" in refused.json()["error"]["remedy"]) == (404, True)
        version = (await decided(client, "classification"))["policy"]["version"]
        told = await pin(client, "classification", LLAMA)
        assert told["file"] == {"models": [GPT, GEMINI], "sha256": of_file["sha256"]}
        assert told["file"]["sha256"] != told["sha256"]
        over = await decided(client, "classification")
        assert (over["model"], told["sha256"][:12] in over["reason"]) == (LLAMA, True)
        assert over["policy"]["version"] == version, "what is drawn is drawn as before"
        listed = await client.get("/v1/pins")
        PinList.model_validate_json(listed.content, strict=True)
        lifted = (await client.delete("/v1/pins/classification")).json()
        assert lifted["pin"] == of_file
        assert (await decided(client, "classification"))["model"] == GPT


async def test_a_rule_is_pinned_as_it_is_told_and_what_it_says_beside_its_models_is_left_aside() -> None:
    rule = {"primary": GEMINI, "status": "settled", "quality": {"mean": 0.9}, "alternatives": [{"model": GPT, "sample_size": 3}]}
    async with running(config.load(database_url="memory://")) as (client, _):
        answer = await client.put("/v1/pins/quick_qa", json={"rule": rule})
        assert (answer.status_code, answer.json()["models"]) == (200, [GEMINI, GPT])
        assert answer.json()["sha256"] == (await pin(client, "quick_qa", GEMINI, GPT))["sha256"]


async def test_decisions_before_and_after_a_pin_recompute_where_they_were_drawn(tmp_path: Path) -> None:
    async with running(config.load(database_url=f"sqlite:///{tmp_path}/p.db", durability="normal")) as (client, services):
        for change in (None, [LLAMA], [GPT, LLAMA], []):
            if change:
                await pin(client, "quick_qa", *change)
            elif change is not None:
                assert (await client.delete("/v1/pins/quick_qa")).status_code == 200
            for task_type in ("quick_qa", "sentiment") * 3:
                await decided(client, task_type)
        audit = AuditService(services.store, decide_again)
        told = Counter((record.decision.policy, audit.recompute(record).exact) for record in services.store.decisions(limit=100))
    assert told == {("thompson", True): 18, ("pinned", None): 6}


async def test_services_on_one_database_take_up_the_pins_of_another(postgres_url: str) -> None:
    async with replicas(postgres_url, 2) as (one, two):
        pins, others = one.services.pins, two.services.pins
        assert pins is not None
        assert others is not None
        told = await pin(one.client, "quick_qa", LLAMA)
        await until(lambda: "quick_qa" in others.pinned)
        assert (await decided(two.client, "quick_qa"))["model"] == LLAMA
        assert (await two.client.get("/v1/pins")).json() == {"pins": [told]}
        assert (await two.client.delete("/v1/pins/quick_qa")).status_code == 200
        await until(lambda: not pins.pinned)
        assert (await decided(one.client, "quick_qa"))["policy"]["name"] == "thompson"


async def test_the_check_of_the_settings_names_what_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("POINTSMAN_DATABASE_URL", f"sqlite:///{tmp_path}/p.db")
    async with running(config.load(durability="normal")) as (client, _):
        await pin(client, "quick_qa", LLAMA, GPT)

    def checked(*options: str) -> str:
        capsys.readouterr()
        assert run(["config", "check", *options]) == 0
        return str(capsys.readouterr().out)

    (told,) = json.loads(await asyncio.to_thread(checked, "--json"))["run_time"]
    assert (told["kind"], told["name"], told["value"], told["setting"]) == ("pin", "quick_qa", [LLAMA, GPT], "rules_file")
    assert f"pin quick_qa = {LLAMA}, {GPT} was set at run time" in await asyncio.to_thread(checked)


MARKER = "xq7markerq7x"


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        ("quick_qa", "models", {}),
        ("quick_qa", "models", {"models": []}),
        ("quick_qa", "models", {"models": GPT}),
        ("quick_qa", "models", {"models": [GPT], "rule": FILE}),
        ("quick_qa", "models[0]", {"models": [MARKER]}),
        ("quick_qa", "models[1]", {"models": [GPT, f"acme/{MARKER}"]}),
        ("quick_qa", "models[0]", {"models": [GPT, GPT]}),
        ("quick_qa", "models[0]", {"models": [GEMINI]}),
        ("quick_qa", "models", {"models": [GPT] * 101}),
        ("quick_qa", "rule.primary", {"rule": {"alternatives": []}}),
        ("quick_qa", "rule.primary", {"rule": {"primary": f"acme/{MARKER}"}}),
        ("quick_qa", "rule.alternatives[0].model", {"rule": {"primary": GPT, "alternatives": [{"model": f"acme/{MARKER}"}]}}),
        ("quick_qa", "rule.alternatives[0]", {"rule": {"primary": GPT, "alternatives": [MARKER]}}),
        ("quick_qa", "key_id", {"models": [GPT], "key_id": MARKER}),
        (f"{MARKER}%20%3Cscript%3E", "task_type", {"models": [GPT]}),
        (MARKER * 20, "task_type", {"models": [GPT]}),
        ("a%00b", "task_type", {"models": [GPT]}),
        ("", "task_type", {"models": [GPT]}),
    ],
)
async def test_bad_pins_are_refused_by_name(path: str, field: str, body: Any) -> None:
    async with running(config.load(database_url="memory://")) as (client, services):
        assert (await client.delete(f"/v1/models/{GEMINI}")).status_code == 200
        answer = await client.put(f"/v1/pins/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
        assert answer.json()["error"]["remedy"]
        assert MARKER not in answer.text
        assert services.store.overrides(0) == []
        gone = await client.delete(f"/v1/pins/{MARKER}")
        assert (gone.status_code, gone.json()["error"]["field"], MARKER in gone.text) == (404, "task_type", False)
