"""The Dockerfile and the compose file name what there is: files, extras, settings, commands."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from router.config import PREFIX, Settings

ROOT = Path(__file__).parents[2]
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_what_the_image_copies_and_installs_is_there(dockerfile: str) -> None:
    copied = [words for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M) for words in line.split()[:-1]]
    assert {"pyproject.toml", "router", "learning", "adapters", "migrations"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'"\.\[(.*)\]"', dockerfile)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    python = re.findall(r"^FROM python:3\.(\d+)-slim", dockerfile, re.M)
    assert len(set(python)) == 1
    assert f"Programming Language :: Python :: 3.{python[0]}" in project["classifiers"]


def test_the_build_is_sent_what_the_image_copies_and_nothing_else(dockerfile: str) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = {words for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M) for words in line.split()[:-1]}
    assert lines[0] == "*", "everything stays out: .git, virtual environments, data, caches, logs"
    assert {line[1:] for line in lines if line.startswith("!")} == {word.removeprefix("./") for word in copied}
    last = max(i for i, line in enumerate(lines) if line.startswith("!"))
    assert {"**/__pycache__", "**/*.db", "**/.env"} <= set(lines[last + 1 :]), "the last line that fits wins"


def test_every_setting_that_is_named_exists(dockerfile: str, compose: dict) -> None:
    named = set(re.findall(r"\bPOINTSMAN_[A-Z_]+", dockerfile))
    for service in compose["services"].values():
        named |= {name for name in service.get("environment", {}) if name.startswith(PREFIX)}
    assert named
    assert named <= SETTINGS


def test_the_compose_file_is_a_database_two_services_and_a_proxy(compose: dict) -> None:
    services = compose["services"]
    ours = [name for name, service in services.items() if service.get("build") == "."]
    assert len(ours) == 2
    for name in ours:
        url = services[name]["environment"]["POINTSMAN_DATABASE_URL"]
        assert url.startswith("postgresql://")
        assert url.rpartition("@")[2].partition("/")[0] in services
        assert services[name]["depends_on"]["postgres"]["condition"] == "service_healthy"
    proxied = compose["configs"]["proxy"]["content"]
    assert all(f"{name}:8080" in proxied for name in ours)
    assert "health_uri /readyz" in proxied
    assert set(compose["volumes"]) == {volume.partition(":")[0] for volume in services["postgres"]["volumes"]}
