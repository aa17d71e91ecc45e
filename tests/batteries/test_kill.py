"""A battery's process is killed half-way; the command is repeated; nobody was called twice."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from router.batteries.files import load
from router.testing import Pupil, Pupils, Scenario
from router.testing.scenarios import Asked
from tests.batteries.conftest import KEYS, urls

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

LLAMA = "cerebras/llama3.1-8b"
BATTERY = {
    "name": "killed",
    "models": [LLAMA],
    "limits": {"default": {"concurrency": 2}},
    "sections": [
        {"task_type": "classification", "generate": {"kind": "tickets", "count": 40, "seed": 1}, "judges": [{"judge": "label"}]},
        {"task_type": "multimodal", "generate": {"kind": "pictures", "count": 3, "seed": 1}, "judges": [{"judge": "contains"}]},
    ],
}


def test_a_killed_run_goes_on_without_paying_twice(stub, tmp_path: Path):
    file = tmp_path / "battery.yaml"
    file.write_text(yaml.safe_dump(BATTERY))
    battery = load(str(file))
    pupils = Pupils({LLAMA: Pupil({"classification": 0.8})}, battery.sections, seed=3)
    answered = itertools.count(1)

    def player(asked: Asked) -> Scenario | None:
        """Fourteen calls are answered, and those under way when the process is killed are not."""
        said = pupils(asked)
        return said if said is None or next(answered) <= 14 else replace(said, latency_s=3600)

    stub.player = player
    environ = os.environ | KEYS | {
        "POINTSMAN_DATABASE_URL": f"sqlite:///{tmp_path / 'log.db'}",
        "POINTSMAN_PROVIDER_URLS": json.dumps(urls(stub)),
        "POINTSMAN_PROVIDERS": "cerebras",
    }  # fmt: skip
    command = [sys.executable, "-m", "router.cli", "battery", "run", str(file), "--json"]
    first = subprocess.Popen(command, cwd=tmp_path, env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stdout=subprocess.DEVNULL)
    patience = time.monotonic() + 120
    while len(stub.requests) < 16 and time.monotonic() < patience:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(stub.requests) == 16
    stub.player = pupils

    again = subprocess.run(
        command, cwd=tmp_path, env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, check=True
    )
    told = json.loads(again.stdout)
    assert told["prepared"]["resumed"]
    assert set(Counter(r.messages[-1].text for r in stub.requests).values()) == {1}
    text, picture = told["report"]["cells"]
    assert picture["skipped"] == "it does not read image"
    assert text["answered"] + text["unknown"] == 40
    assert text["unknown"] == 2  # those under way when it was killed
    assert told["report"]["run"]["status"] == "done"
