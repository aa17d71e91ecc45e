"""The README's commands, requests and programs are true."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from router.api.schemas import FeedbackIn, OutcomeIn, RouteRequest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
BODIES = {"route": RouteRequest, "outcomes": OutcomeIn, "feedback": FeedbackIn}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_target_that_the_readme_names_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", "\n".join([*blocks("sh"), *re.findall(r"`(make [^`]+)`", README)])))
    assert {"demo", "test", "serve"} <= named
    for target in named:
        assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), target


@pytest.mark.parametrize("path", BODIES)
def test_the_requests_are_what_the_service_reads(path):
    (body,) = re.findall(rf"/v1/{path} .*?-d '(.*?)'", "\n".join(blocks("sh")), flags=re.DOTALL)
    BODIES[path].model_validate_json(json.dumps(json.loads(body)))


def test_the_commands_are_the_programs(capsys):
    from router.cli.app import run

    for line in re.findall(r"pointsman ((?:bench|config|import|models|replay|serve|db)[a-z ]*)", "\n".join(blocks("sh"))):
        assert run([*shlex.split(line), "--help"]) == 0, line
    capsys.readouterr()


@pytest.mark.parametrize("program", blocks("python"))
def test_the_programs_run(program, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "/" in done.stdout
