"""``pointsman serve`` in a process of its own, for tests that end it roughly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from router.testing.postgres import free_port

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Ours, without settings, and able to import the source tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return kept | {"PYTHONPATH": str(ROOT)}


class Service:
    """Listening when built."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "service.log"
        command = [sys.executable, "-m", "router.cli", "serve", "--port", str(free_port()), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=environment(), text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert "listens on" in said, self.log.read_text()
        self.address = next(word for word in said.split() if word.startswith("http://"))

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is closed."""
        self.process.kill()
        self._end()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(120)
