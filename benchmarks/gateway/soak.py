"""A provider of three fails under load in every way there is: how many callers notice, how many calls it takes, how soon it is over.

For each way: a few seconds of health, the failure for a while, and the recovery; half of the requests are streamed. Real processes, real
sockets, a durable log. Ends with status 1 where something that is promised does not hold.

    python -m benchmarks.gateway.soak [--seconds 60] [--at-once 12] [--ways 500,cut] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.gateway.servers import start, stop, wait_for
from benchmarks.route import free_port
from router.testing import Fault, Scenario, Stub

NAMES = ("one", "two", "three")
CATALOG = "".join(
    f"""
[[models]]
id = "{provider}/{name}"
family = "{name}"
context_window = 128000
capabilities = ["streaming"]
price = {{ input = 1.0, output = 2.0 }}
"""
    for provider, name in zip(("alpha", "beta", "gamma"), NAMES, strict=True)
)
REFUSED = "refused"
WAYS: dict[str, Scenario | None] = {
    **{status: Scenario(status=int(status)) for status in ("401", "402", "404", "408", "413", "500", "529")},
    "429": Scenario(status=429, retry_after="1"),
    "timeout": Scenario(fault=Fault.HANG),
    REFUSED: None,
    "dropped": Scenario(fault=Fault.DROP),
    "garbage": Scenario(fault=Fault.GARBAGE),
    "html": Scenario(fault=Fault.HTML),
    "empty": Scenario(fault=Fault.EMPTY_OBJECT),
    "cut": Scenario(fault=Fault.CUT),
    "error in stream": Scenario(fault=Fault.STREAM_ERROR),
}
HEALTHY_S, RECOVERY_S, TIMEOUT_S = 3.0, 15.0, 2.0
HEALTHY = Scenario(latency_s=0.02, tokens_per_chunk=3)
LEAST_SUCCESS, MOST_ATTEMPTS, MOST_FAILURES, MOST_OPENING_S, MOST_RECOVERY_S = 0.999, 1.10, 5, 1.0, 10.0


@dataclass(slots=True)
class Seen:
    """What callers saw of one phase."""

    ok: int = 0
    failed: list[str] = field(default_factory=list)
    attempts: int = 0
    failures: list[float] = field(default_factory=list)
    """When an attempt of the failing model failed, in seconds since the failure began."""
    back_s: float | None = None


async def ask(session: Any, url: str, *, stream: bool, seen: Seen, began: float, recovered: float | None) -> None:
    """One call; what it says is checked."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "Which signal is it?"}], "stream": stream}
    body["router"] = {"policy": "uniform", "constraints": {"providers": ["alpha", "beta", "gamma"]}}
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        raw = await answer.read()
    told: dict[str, Any] = {}
    if answer.status == 200 and stream:
        events = [json.loads(line[6:]) for line in raw.split(b"\n\n") if line.startswith(b"data: {")]
        told = next((event["router"] for event in events if "router" in event), {})
        fault = next((event["error"]["message"] for event in events if "error" in event), None if told else "no end")
    else:
        told = json.loads(raw).get("router", {})
        fault = None if answer.status == 200 else f"{answer.status} {raw[:200].decode()}"
    attempts = told.get("attempts", [])
    seen.attempts += len(attempts) or 1
    now = time.perf_counter()
    seen.failures += [now - began for attempt in attempts if attempt["status"] != "ok"]
    if fault is not None:
        seen.failed.append(fault)
        seen.failures += [now - began] * (not attempts)
    else:
        seen.ok += 1
        if recovered is not None and seen.back_s is None and told["model"] == "alpha/one":
            seen.back_s = now - recovered


async def load(url: str, seconds: float, at_once: int, *, recovered: float | None = None) -> Seen:
    """Keep calls under way."""
    import aiohttp

    seen, began = Seen(), time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def caller(i: int) -> None:
            while time.perf_counter() - began < seconds and not (recovered is not None and seen.back_s is not None):
                await ask(session, url, stream=i % 2 == 0, seen=seen, began=began, recovered=recovered)

        await asyncio.gather(*(caller(i) for i in range(at_once)))
    return seen


def qualities(url: str) -> Any:
    """What is believed of the models' quality."""
    with urlopen(f"{url}/v1/policy", timeout=30) as answer:
        policy = json.load(answer)
    return sorted((t["task_type"], m["model"], m["quality"]["mean"]) for t in policy["task_types"] for m in t["models"])


async def one_way(url: str, failing: Stub, way: str, seconds: float, at_once: int) -> dict[str, Any]:
    """A failure and its end."""
    await load(url, HEALTHY_S, at_once)
    before = await asyncio.to_thread(qualities, url)
    scenario = WAYS[way]
    if scenario is None:
        failing.refuse()
    else:
        failing.script("one", scenario)
    seen = await load(url, seconds, at_once)
    failing.script("one", HEALTHY)
    failing.listen()
    back = await load(url, RECOVERY_S, at_once, recovered=time.perf_counter())
    await asyncio.sleep(1.0)
    after = await asyncio.to_thread(qualities, url)
    requests = seen.ok + len(seen.failed)
    opened = sorted(seen.failures)[:MOST_FAILURES]
    in_flight = sum(t < (TIMEOUT_S if way == "timeout" else 0.0) + 1.0 for t in seen.failures)
    return {
        "requests": requests,
        "success": seen.ok / requests,
        "attempts": seen.attempts / requests,
        "opened_s": opened[-1] if len(opened) == MOST_FAILURES else None,
        "failures_first_s": in_flight,
        "failures": len(seen.failures),
        "back_s": back.back_s,
        "quality_moved": max((abs(a[2] - b[2]) for a, b in zip(before, after, strict=True)), default=0.0),
        "said": sorted(set(seen.failed))[:3],
    }


def misses(way: str, r: dict[str, Any], at_once: int) -> list[str]:
    """What of the promises does not hold."""
    found = []
    if r["success"] < LEAST_SUCCESS:
        found.append(f"success {r['success']:.2%}")
    if r["attempts"] > MOST_ATTEMPTS:
        found.append(f"{r['attempts']:.3f} attempts per request")
    if r["failures_first_s"] > MOST_FAILURES + at_once:
        found.append(f"{r['failures_first_s']} failures at first: the circuit did not open")
    if r["back_s"] is None or r["back_s"] > MOST_RECOVERY_S:
        found.append("not back in time")
    if r["quality_moved"]:
        found.append(f"a quality estimate moved by {r['quality_moved']:.2g}")
    return [f"{way}: {each}" for each in found]


async def run(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """All ways, one after the other."""
    (folder / "models.toml").write_text(CATALOG)
    result: dict[str, Any] = {}
    found: list[str] = []
    with Stub() as failing, Stub() as sound:
        failing.default = sound.default = HEALTHY
        port, address = free_port(), sound.base_url("openai")
        settings = {
            "POINTSMAN_DATABASE_URL": f"sqlite:///{folder / 'soak.db'}",
            "POINTSMAN_CATALOG_FILE": str(folder / "models.toml"),
            "POINTSMAN_PROVIDERS": "alpha,beta,gamma",
            "POINTSMAN_PROVIDER_URLS": json.dumps({"alpha": failing.base_url("openai"), "beta": address, "gamma": address}),
            "POINTSMAN_PROVIDER_TIMEOUT_S": str(TIMEOUT_S),
            "POINTSMAN_PROVIDER_FIRST_TOKEN_S": str(TIMEOUT_S),
        }
        process = start(0, [sys.executable, "-m", "router.cli", "serve", "--port", str(port)], folder, settings)
        try:
            url = f"http://127.0.0.1:{port}"
            await asyncio.to_thread(wait_for, f"{url}/readyz", process)
            print(f"{'way':<17}{'requests':>9}{'success':>10}{'attempts':>10}{'5th failure':>13}{'failures':>10}{'back':>8}{'quality':>11}")
            for way in args.ways:
                r = result[way] = await one_way(url, failing, way, args.seconds, args.at_once)
                opened = "–" if r["opened_s"] is None else f"{r['opened_s']:.2f} s"
                back = "–" if r["back_s"] is None else f"{r['back_s']:.1f} s"
                moved = "as it was" if not r["quality_moved"] else f"{r['quality_moved']:.1g}"
                figures = f"{r['requests']:>9,}{r['success']:>10.3%}{r['attempts']:>10.4f}{opened:>13}{r['failures']:>10}{back:>8}"
                print(f"{way:<17}{figures}{moved:>11}", flush=True)
                found += misses(way, r, args.at_once)
        finally:
            stop(process)
    return result, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of failure, for each way")
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if strangers := [way for way in args.ways if way not in WAYS]:
        parser.error(f"no such way: {', '.join(strangers)}; there are {', '.join(WAYS)}")
    print(f"one of three providers fails for {args.seconds:g} s in each way; {args.at_once} calls at once, half of them streamed")
    with tempfile.TemporaryDirectory() as folder:
        result, found = asyncio.run(run(args, Path(folder)))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    for each in found:
        print(f"MISSED  {each}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
