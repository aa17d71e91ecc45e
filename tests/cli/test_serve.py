"""``pointsman serve`` as a process: it says where it listens, takes options, refuses a taken port, and ends in order."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from router.demo.service import Caller
from tests.end_to_end.service import Service, environment


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path, "--database-url", f"sqlite:///{tmp_path}/log.db", "--durability", "normal", "--log-level", "warning")
    yield running
    if running.process.poll() is None:
        running.kill()


def test_it_serves_as_told_and_stops_in_order(service: Service, tmp_path: Path) -> None:
    with closing(Caller(service.address)) as caller:
        assert caller.call("GET", "/readyz")["durability"] == "normal"
    with urllib.request.urlopen(f"{service.address}/docs", timeout=60) as answer:
        assert answer.status == 200
    port = service.address.rpartition(":")[2]
    command = [sys.executable, "-m", "router.cli", "serve", "--port", port, "--database-url", "memory://"]
    second = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=120, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.count("\n") == 1
    assert "[port]" in second.stderr
    service.stop()
    assert not (tmp_path / "log.db-wal").exists(), "a stop in order leaves one file"
    assert "Traceback" not in service.log.read_text()
