"""``pointsman battery``: what it shows, what it refuses before the first call, and a run against a stand-in of the provider."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from router.batteries.files import load
from router.testing import Pupil, Pupils, Stub
from tests.cli.conftest import Command

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

LLAMA, LARGE, PHI = "cerebras/llama3.1-8b", "cerebras/llama3.1-70b", "deepinfra/microsoft/phi-2"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with Stub() as made:
        monkeypatch.setenv("CEREBRAS_API_KEY", "any")
        monkeypatch.setenv("DEEPINFRA_API_KEY", "any")
        monkeypatch.setenv("POINTSMAN_PROVIDERS", "cerebras,deepinfra")
        urls = {"cerebras": made.base_url("cerebras"), "deepinfra": made.base_url("deepinfra")}
        monkeypatch.setenv("POINTSMAN_PROVIDER_URLS", json.dumps(urls))
        yield made


def written(folder: Path, models: list[str], count: int = 8) -> Path:
    file = folder / "own.yaml"
    section = {"task_type": "classification", "generate": {"kind": "tickets", "count": count}, "judges": [{"judge": "label"}]}
    file.write_text(yaml.safe_dump({"name": "own", "title": "Ours", "models": models, "sections": [section | {"max_output_tokens": 16}]}))
    return file


def test_what_ships_is_listed(pointsman: Command):
    assert "9.3-classification-1000" in pointsman("battery", "list").out
    assert pointsman("battery", "list", "--json").json[0]["name"] == "8.6-orchestration-28"


def test_a_run_announces_what_it_costs_and_shows_what_it_found(pointsman: Command, stub: Stub, tmp_path: Path):
    file = written(tmp_path, [LLAMA, LARGE])
    stub.player = Pupils({LLAMA: Pupil({"classification": 0.0}), LARGE: Pupil({"classification": 1.0})}, load(str(file)).sections)
    plan = pointsman("battery", "run", file, "--dry-run")
    assert plan.status == 0
    assert "16 calls to make" in plan.out
    assert "the limit is $1.00" in plan.out
    assert stub.requests == []
    done = pointsman("battery", "run", file)
    assert done.status == 0, done.err
    assert "1.000 [0.688, 1.000]" in done.out
    assert "+1.000 [+0.375, +1.000]" in done.out  # better than the baseline on each of eight cases
    assert len(stub.requests) == 16
    again = pointsman("battery", "report", "--json").json
    assert again["run"]["status"] == "done"
    assert {cell["model"]: cell["quality"]["mean"] for cell in again["cells"]} == {LLAMA: 0.0, LARGE: 1.0}
    assert "own" in pointsman("battery", "runs").out
    assert pointsman("battery", "report", "run_none").status == 2


def test_money_is_refused_before_the_first_call(pointsman: Command, stub: Stub, tmp_path: Path):
    unpriced = pointsman("battery", "run", written(tmp_path, [PHI]))
    assert unpriced.status == 2
    assert "--allow-unpriced" in unpriced.err
    dear = pointsman("battery", "run", written(tmp_path, [LARGE]), "--max-usd", 0.00001)
    assert dear.status == 2
    assert "[max-usd]" in dear.err
    assert pointsman("battery", "run", written(tmp_path, [LARGE]), "--max-usd", "nan").status == 2
    assert pointsman("battery", "run", written(tmp_path, [LARGE]), "--database-url", "memory://").status == 2
    assert stub.requests == []


def test_a_model_that_is_refused_makes_the_command_fail_and_say_so(pointsman: Command, stub: Stub, tmp_path: Path):
    from router.testing import Scenario

    stub.script("llama3.1-70b", Scenario(status=401))
    failed = pointsman("battery", "run", written(tmp_path, [LARGE]))
    assert failed.status == 2
    assert f"{LARGE} was given up after AccessDenied" in failed.err
