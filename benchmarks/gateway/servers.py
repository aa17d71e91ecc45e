"""The servers that are compared: a local upstream, Pointsman in front of it, and LiteLLM's proxy where it is installed.

The upstream shares a core with the load, the servers in front of it have the other one. The load has to be held there: a server that
writes wakes its caller, whom the kernel likes to put on the writer's core, and there it would read the first byte only once the server has
done with the rest of the stream, which a caller elsewhere does not wait for.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.route import free_port, pinned

TEXT = " ".join(["word"] * 32)
"""The question and the answer: 32 tokens, in 8 pieces where it is streamed."""
_SERVERS, _LOAD = 0, 1
"""Cores."""
FIRST_TOKEN_S = 0.05
"""Of the model ``slow``; no provider is faster than about twice that."""
CATALOG = """
[[models]]
id = "local/fast"
family = "fast"
context_window = 128000
capabilities = ["streaming"]
price = { input = 1.0, output = 2.0 }
[[models]]
id = "local/slow"
family = "slow"
context_window = 128000
capabilities = ["streaming"]
price = { input = 1.0, output = 2.0 }
"""
PROXY = """
model_list:
  - model_name: local/fast
    litellm_params: {{model: openai/fast, api_base: "{url}", api_key: any}}
  - model_name: local/slow
    litellm_params: {{model: openai/slow, api_base: "{url}", api_key: any}}
litellm_settings: {{telemetry: false}}
"""
OPEN_PROXY = {
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # ours asks for no key here either
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where one is asked, and under which names it offers the upstream's models."""

    url: str
    prefix: str
    """Before the names of the upstream's models."""
    pid: int | None = None
    """None: its CPU is not looked at."""
    routes: bool = False
    """It chooses the model itself, among those that a request allows."""

    def body(self, *, slow: bool = False, stream: bool = False) -> dict[str, object]:
        """A request for the one model or the other."""
        name = self.prefix + ("slow" if slow else "fast")
        body: dict[str, object] = {"model": name, "messages": [{"role": "user", "content": TEXT}], "stream": stream}
        return body | {"model": "auto", "router": {"constraints": {"models": [name]}}} if self.routes else body


def keep_beside_upstream() -> None:
    """Hold this process, which makes the load, where ``start`` puts the upstream."""
    if pinned(_LOAD, []):
        os.sched_setaffinity(0, {_LOAD})


def upstream(port_file: str) -> None:
    """Serve the upstream until killed."""
    from router.testing import Scenario, Stub

    with Stub() as stub:
        stub.script("fast", Scenario(text=TEXT, tokens_per_chunk=4))
        stub.script("slow", Scenario(text=TEXT, tokens_per_chunk=4, latency_s=FIRST_TOKEN_S))
        written = Path(port_file + ".part")
        written.write_text(stub.base_url("openai"))
        written.rename(port_file)
        while True:
            time.sleep(3600)


@contextmanager
def running(folder: Path, litellm: Path | None, *, environ: dict[str, str] | None = None) -> Iterator[dict[str, Server]]:
    """The servers by name; LiteLLM is one of them where its program is in the virtual environment ``litellm``."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        port_file = folder / "upstream"
        started.append(start(_LOAD, [sys.executable, "-m", "benchmarks.gateway", "--serve-upstream", str(port_file)], folder, {}))
        while not port_file.exists():
            time.sleep(0.05)
        url = port_file.read_text()
        servers = {"direct": Server(url, "")}
        servers["pointsman"] = _pointsman(started, folder, url, environ or {})
        if litellm is not None:
            servers["litellm"] = _litellm(started, folder, url, litellm.resolve() / "bin" / "litellm")
        yield servers
    finally:
        for process in started:
            stop(process)


def _pointsman(started: list[subprocess.Popen[bytes]], folder: Path, url: str, environ: dict[str, str]) -> Server:
    catalog, port = folder / "models.toml", free_port()
    catalog.write_text(CATALOG)
    settings = {
        "POINTSMAN_DATABASE_URL": f"sqlite:///{folder / 'bench.db'}",
        "POINTSMAN_CATALOG_FILE": str(catalog),
        "POINTSMAN_PROVIDERS": "local",
        "POINTSMAN_PROVIDER_URLS": json.dumps({"local": url}),
    }
    started.append(start(_SERVERS, [sys.executable, "-m", "router.cli", "serve", "--port", str(port)], folder, settings | environ))
    wait_for(f"http://127.0.0.1:{port}/readyz", started[-1])
    return Server(f"http://127.0.0.1:{port}/v1", "local/", started[-1].pid, routes=True)


def _litellm(started: list[subprocess.Popen[bytes]], folder: Path, url: str, program: Path) -> Server:
    config, port = folder / "litellm.yaml", free_port()
    config.write_text(PROXY.format(url=url))
    command = [str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    started.append(start(_SERVERS, command, folder, OPEN_PROXY))
    wait_for(f"http://127.0.0.1:{port}/health/liveliness", started[-1])
    return Server(f"http://127.0.0.1:{port}/v1", "local/", started[-1].pid)


def start(core: int, command: list[str], cwd: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process on a core."""
    source = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": source, **environ}
    return subprocess.Popen(pinned(core, command), env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that ``start`` started."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    """Return when the address answers. Raises ``SystemExit``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server for {url} ended with code {process.returncode}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"{url} did not answer in {seconds:g} s")
