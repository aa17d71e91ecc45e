"""What a call costs on its way through the gateway: CPU, p50, p99 and throughput, whole and streamed, through a fast local upstream.

The direct call stands beside it, and the LiteLLM proxy where it is installed in a virtual environment of its own; one worker each, one
run, in turns. Print the ratios, not the absolute figures: machines differ.

    python -m benchmarks.gateway [--seconds 4] [--rounds 2] [--at-once 16] [--litellm .venv-litellm] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.route import cpu_s, free_port, pinned

TEXT = " ".join(["word"] * 32)
CATALOG = """
[[models]]
id = "local/fast"
family = "fast"
context_window = 128000
capabilities = ["streaming"]
price = { input = 1.0, output = 2.0 }
"""
PROXY = """
model_list:
  - model_name: local/fast
    litellm_params: {{model: openai/fast, api_base: "{url}", api_key: any}}
litellm_settings: {{telemetry: false}}
"""


def upstream(port_file: str) -> None:
    """Serve the upstream until killed."""
    from router.testing import Scenario, Stub

    with Stub() as stub:
        stub.default = Scenario(text=TEXT, tokens_per_chunk=4)
        Path(port_file).write_text(stub.base_url("openai"))
        while True:
            time.sleep(3600)


async def measure(url: str, model: str, *, stream: bool, seconds: float, at_once: int) -> dict[str, float]:
    """Latencies of calls at a given concurrency."""
    import aiohttp

    body = {"model": model, "messages": [{"role": "user", "content": TEXT}], "stream": stream}
    took: list[float] = []
    first: list[float] = []
    end = time.perf_counter() + seconds
    headers = {"authorization": "Bearer any"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def caller() -> None:
            while time.perf_counter() < end:
                begun = time.perf_counter()
                async with session.post(f"{url}/chat/completions", json=body) as answer:
                    if answer.status != 200:
                        raise SystemExit(f"{url} answered {answer.status}: {(await answer.text())[:300]}")
                    await answer.content.readany()
                    first.append(time.perf_counter() - begun)
                    await answer.read()
                took.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        elapsed = time.perf_counter() - begun
    cuts = statistics.quantiles(took, n=100)
    return {
        "calls": float(len(took)),
        "per_s": len(took) / elapsed,
        "p50_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
        "first_ms": statistics.median(first) * 1e3,
    }


def start(command: list[str], environ: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    source = str(Path(__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": source, **environ}
    return subprocess.Popen(pinned(0, command), env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

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


def litellm(venv: Path, folder: Path, upstream_url: str) -> tuple[str, subprocess.Popen[bytes]] | None:
    """The proxy where it is installed; None, with the reason printed, where not."""
    program = venv.resolve() / "bin" / "litellm"
    if not program.exists():
        print(f"LiteLLM is left out: {program} does not exist; python3 -m venv {venv} && {venv}/bin/pip install 'litellm[proxy]'")
        return None
    port, config = free_port(), folder / "litellm.yaml"
    config.write_text(PROXY.format(url=upstream_url))
    quiet = {"LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    process = start([str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"], quiet, folder)
    wait_for(f"http://127.0.0.1:{port}/health/liveliness", process)
    return f"http://127.0.0.1:{port}/v1", process


def run(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over the rounds, by server and kind of call."""
    port_file, catalog = folder / "upstream", folder / "models.toml"
    catalog.write_text(CATALOG)
    servers = [start([sys.executable, "-m", "benchmarks.gateway", "--serve-upstream", str(port_file)], {}, folder)]
    try:
        while not port_file.exists() or not (url := port_file.read_text()):
            time.sleep(0.05)
        port = free_port()
        ours = start(
            [sys.executable, "-m", "router.cli", "serve", "--port", str(port)],
            {
                "POINTSMAN_DATABASE_URL": f"sqlite:///{folder / 'bench.db'}",
                "POINTSMAN_CATALOG_FILE": str(catalog),
                "POINTSMAN_PROVIDERS": "local",
                "POINTSMAN_PROVIDER_URLS": json.dumps({"local": url}),
            },
            folder,
        )
        servers.append(ours)
        wait_for(f"http://127.0.0.1:{port}/readyz", ours)
        peers = {"direct": (url, "fast", None), "pointsman": (f"http://127.0.0.1:{port}/v1", "auto", ours)}
        if args.litellm is not None and (proxy := litellm(args.litellm, folder, url)) is not None:
            servers.append(proxy[1])
            peers["litellm"] = (proxy[0], "local/fast", proxy[1])
        rows: dict[str, dict[str, list[dict[str, float]]]] = {name: {"whole": [], "stream": []} for name in peers}
        for address, model, _ in peers.values():  # warm
            asyncio.run(measure(address, model, stream=False, seconds=1, at_once=4))
        for _ in range(args.rounds):
            for kind in ("whole", "stream"):
                for name, (address, model, process) in peers.items():
                    before = 0.0 if process is None else cpu_s(process.pid)
                    row = asyncio.run(measure(address, model, stream=kind == "stream", seconds=args.seconds, at_once=args.at_once))
                    row["cpu_ms"] = 0.0 if process is None else (cpu_s(process.pid) - before) / row["calls"] * 1e3
                    single = asyncio.run(measure(address, model, stream=kind == "stream", seconds=args.seconds / 2, at_once=1))
                    row |= {"alone_p50_ms": single["p50_ms"], "alone_first_ms": single["first_ms"]}
                    rows[name][kind].append(row)
    finally:
        for server in servers:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
    return {name: {kind: _medians(runs) for kind, runs in by.items()} for name, by in rows.items()}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--litellm", type=Path, help="virtual environment with litellm[proxy]")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for module in ("openai", "aiohttp"):
        try:
            __import__(module)
        except ImportError:
            raise SystemExit(f"{module} is needed: pip install 'pointsman[openai]'") from None
    folder = Path(tempfile.mkdtemp())
    try:
        result = run(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"one worker each, {args.at_once} calls at once, medians of {args.rounds} rounds; SQLite durability full; 8 chunks per stream")
    print(f"{'server':<12}{'call':<8}{'cpu ms':>8}{'calls/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'alone p50':>11}{'alone first':>13}")
    for name, by in result.items():
        for kind, r in by.items():
            figures = f"{r['cpu_ms']:>8.2f}{r['per_s']:>9.0f}{r['p50_ms']:>8.1f}{r['p99_ms']:>8.1f}"
            print(f"{name:<12}{kind:<8}{figures}{r['alone_p50_ms']:>11.2f}{r['alone_first_ms']:>13.2f}")
    if "litellm" in result:
        ratio = result["litellm"]["whole"]["cpu_ms"] / result["pointsman"]["whole"]["cpu_ms"]
        print(f"LiteLLM takes {ratio:.1f} times the CPU of a whole call")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--serve-upstream":
        upstream(sys.argv[2])
    else:
        main()
