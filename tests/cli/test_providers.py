"""The service, its list of models and ``config check`` agree on who can be called."""

import json
import urllib.request
from pathlib import Path

import pytest

from adapters.registry import ADAPTERS
from tests.cli.conftest import Command
from tests.end_to_end.service import Service

pytest.importorskip("openai", reason="Cerebras needs the extra openai")
pytest.importorskip("google.genai", reason="Gemini needs the extra gemini")

KEYS = sorted({name for entry in ADAPTERS.values() for name in entry.key_variables})


@pytest.fixture
def two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "a")
    monkeypatch.setenv("CEREBRAS_API_KEY", "b")


@pytest.mark.usefixtures("two_keys")
def test_with_two_keys_exactly_those_providers_are_offered(pointsman: Command, tmp_path: Path) -> None:
    running = Service(tmp_path, "--database-url", "memory://")
    try:
        assert running.process.stdout is not None
        said = running.process.stdout.readline()
        with urllib.request.urlopen(f"{running.address}/v1/models", timeout=60) as answer:
            listed = json.load(answer)
    finally:
        running.stop()
    assert said.startswith("Calls go to cerebras, google;")
    checked = pointsman("config", "check", "--json").json["providers"]
    assert [told["provider"] for told in checked] == sorted(ADAPTERS)
    called = {told["provider"]: told["models"] for told in checked if told["called"]}
    offered = [model["owned_by"] for model in listed["data"]]
    assert called == {"cerebras": offered.count("cerebras"), "google": offered.count("google")}
    assert set(offered) == {"cerebras", "google"}
    lacking = {told["provider"]: told["remedy"] for told in listed["unavailable"]}
    assert lacking.items() <= {told["provider"]: told["remedy"] for told in checked if not told["called"]}.items()
    assert lacking.keys() == {"openai", "anthropic", "deepinfra", "replicate"}
    (started,) = (line for line in (tmp_path / "service.log").read_text().splitlines() if "service.started" in line)
    assert json.loads(started)["providers"] == ["cerebras", "google"]


@pytest.mark.usefixtures("two_keys")
def test_config_check_says_what_each_provider_needs_and_what_is_deprecated(pointsman: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told = pointsman("config", "check")
    assert told.status == 0
    assert "set OPENAI_API_KEY" in told.out
    assert "deprecated" in told.out
    monkeypatch.setenv("POINTSMAN_PROVIDERS", "google, deepinfra")
    refused = pointsman("config", "check", "--json")
    assert refused.status == 2
    (problem,) = refused.json["problems"]
    assert (problem["field"], problem["remedy"]) == ("providers", "set DEEPINFRA_API_KEY or DEEPINFRA_TOKEN")


def test_without_any_key_the_service_says_that_it_only_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    running = Service(tmp_path, "--database-url", "memory://")
    try:
        assert running.process.stdout is not None
        assert running.process.stdout.readline().startswith("No provider can be called")
    finally:
        running.stop()
