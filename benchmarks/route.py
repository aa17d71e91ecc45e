"""Requests per second of ``POST /v1/route`` with durable logging, beside a bare FastAPI route with the same request and response models.

One worker each, in one run, in turns; load from wrk. Print the ratio, not the absolute figure: machines differ.

    python -m benchmarks.route [--seconds 5] [--rounds 3] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODELS = 40
WORDS = ("the", "train", "leaves", "from", "track", "nine", "and", "each", "takes", "its", "way", "because", "points", "are", "set")
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local i = 0
request = function()
  i = i %% #bodies + 1
  return wrk.format("POST", "/v1/route", {["content-type"] = "application/json"}, bodies[i])
end
done = function(summary, latency, requests)
  io.write(string.format('RESULT {"requests": %%d, "us": %%d, "errors": %%d, "p50_us": %%d, "p99_us": %%d}\\n',
    summary.requests, summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def bodies(n: int, seed: int = 0) -> list[str]:
    """Route requests of about 1 kB over 20 task types."""
    from router.domain.tasks import TASK_TYPES

    rng = random.Random(seed)
    types = TASK_TYPES[:20]
    return [
        json.dumps(
            {
                "task_type": types[i % len(types)],
                "messages": [{"role": "user", "content": " ".join(rng.choices(WORDS, k=185))}],
                "expected_output_tokens": rng.randint(50, 800),
                "weights": {"quality": 1.0, "cost": 0.3, "latency": 0.1},
                "tags": {"team": "bench"},
            }
        )
        for i in range(n)
    ]


def bare() -> None:
    """Serve the comparison: the same models in and out, nothing in between."""
    import uvicorn
    from fastapi import FastAPI

    from router.api.schemas import RouteRequest
    from router.api.views.routing import RouteAnswer

    app = FastAPI()
    answer = json.loads(Path(sys.argv[3]).read_text())

    @app.post("/v1/route", response_model=RouteAnswer)
    async def route(request: RouteRequest) -> Any:  # noqa: ARG001 - validated by FastAPI, which is the point
        return answer

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_config=None, access_log=False)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else command


def start(command: list[str], port: int, path: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    import httpx

    process = subprocess.Popen(pinned(0, command), env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with code {process.returncode}: {' '.join(command)}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the server did not come up in 60 s")


async def prepare(port: int) -> dict[str, Any]:
    """Leave 40 text models in the catalogue and some evidence in every task type; returns one answer."""
    import httpx

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        models = [m for m in (await client.get("/v1/models")).json()["data"] if not m["retired"]]
        for model in models[MODELS:]:
            (await client.delete(f"/v1/models/{model['id']}")).raise_for_status()
        rng = random.Random(1)
        for body in bodies(600, seed=1):
            headers = {"content-type": "application/json"}
            answer = (await client.post("/v1/route", content=body, headers=headers)).raise_for_status().json()
            done = {"decision_id": answer["decision_id"], "latency_s": rng.uniform(0.5, 5), "output_tokens": rng.randint(50, 500)}
            (await client.post("/v1/outcomes", json=done)).raise_for_status()
            score = {"decision_id": answer["decision_id"], "judge": "bench", "score": rng.random()}
            (await client.post("/v1/feedback", json=score)).raise_for_status()
    return dict(answer)


def load(port: int, script: Path, connections: int, seconds: float) -> dict[str, float]:
    out = subprocess.run(
        pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}"]),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"RESULT (\{.*\})", out)
    if found is None:
        raise SystemExit(f"wrk printed no result:\n{out}")
    r = json.loads(found.group(1))
    if r["errors"]:
        raise SystemExit(f"{r['errors']} requests failed")
    return {"per_s": r["requests"] / r["us"] * 1e6, "p50_ms": r["p50_us"] / 1e3, "p99_ms": r["p99_us"] / 1e3}


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    script, data = folder / "route.lua", folder / "bodies.jsonl"
    data.write_text("\n".join(bodies(400)) + "\n")
    script.write_text(SCRIPT % data)
    ours_port, bare_port = free_port(), free_port()
    ours = start(
        [sys.executable, "-m", "router.cli", "serve", "--port", str(ours_port)],
        ours_port,
        "/healthz",
        {"POINTSMAN_DATABASE_URL": f"sqlite:///{folder / 'bench.db'}", "POINTSMAN_LOG_LEVEL": "error"},
    )
    servers = [ours]
    try:
        example = folder / "answer.json"
        example.write_text(json.dumps(asyncio.run(prepare(ours_port))))
        plain = start([sys.executable, "-m", "benchmarks.route", "--serve-bare", str(bare_port), str(example)], bare_port, "/docs")
        servers.append(plain)
        names = {"pointsman": (ours, ours_port), "bare FastAPI": (plain, bare_port)}
        rows: dict[str, dict[str, list[dict[str, float]]]] = {name: {"1": [], "32": []} for name in names}
        for _ in range(args.rounds):
            for connections in (1, 32):
                for name, (process, port) in names.items():
                    before = cpu_s(process.pid)
                    row = load(port, script, connections, args.seconds)
                    row["cpu_us"] = (cpu_s(process.pid) - before) / (row["per_s"] * args.seconds) * 1e6
                    rows[name][str(connections)].append(row)
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=30)
    return {name: {c: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for c, runs in by.items()} for name, by in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed to make the load: install the package wrk (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    print(f"{MODELS} models, 20 task types, 1 kB bodies, SQLite durability full, one worker each, medians of {args.rounds} rounds")
    print(f"{'server':<14}{'clients':>8}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>9}")
    for name, by in result.items():
        for connections, row in by.items():
            print(f"{name:<14}{connections:>8}{row['per_s']:>9.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['cpu_us']:>9.0f}")
    for connections in ("1", "32"):
        ratio = result["pointsman"][connections]["per_s"] / result["bare FastAPI"][connections]["per_s"]
        print(f"ratio at {connections} clients: {ratio:.2f} of the bare route's requests per second")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--serve-bare":
        bare()
    else:
        main()
