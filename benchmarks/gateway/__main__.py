"""What a call costs on its way through the gateway: CPU, p50, p99 and throughput, whole and streamed, through a fast local upstream.

The direct call stands beside it, and LiteLLM's proxy where it is installed; one worker each, one run, in turns. Believe the ratios more
than the absolute figures: machines differ. The delay of a stream's first byte is measured on an idle service, one call at a time,
against a model that takes 50 ms to its first token, and against one that answers at once.

    python -m benchmarks.gateway [--seconds 4] [--rounds 3] [--at-once 16] [--litellm .venv-litellm] [--json FILE]
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.gateway.load import crowd, paced
from benchmarks.gateway.servers import FIRST_TOKEN_S, Server, keep_beside_upstream, running, upstream
from benchmarks.route import cpu_s

Figures = dict[str, float]
KINDS = ("whole", "stream")
CALLS, PAUSE_S = 40, 0.03
"""Of each round of single calls."""


def loaded(server: Server, *, stream: bool, seconds: float, at_once: int) -> Figures:
    """One round under load."""
    before = 0.0 if server.pid is None else cpu_s(server.pid)
    took, per_s = asyncio.run(crowd(server.url, server.body(stream=stream), seconds=seconds, at_once=at_once))
    used = 0.0 if server.pid is None else cpu_s(server.pid) - before
    return {"cpu_ms": used / len(took.whole) * 1e3, "per_s": per_s, "p50_ms": took.ms(50), "p99_ms": took.ms(99)}


def delays(servers: dict[str, Server], *, stream: bool, slow: bool) -> dict[str, Figures]:
    """One round of single calls: how much later than directly the first byte and the whole answer come."""
    took = asyncio.run(paced({n: (s.url, s.body(slow=slow, stream=stream)) for n, s in servers.items()}, calls=CALLS, pause_s=PAUSE_S))
    base = took["direct"]
    return {
        name: {"first_ms": its.ms(50, "first") - base.ms(50, "first"), "whole_ms": its.ms(50) - base.ms(50)}
        for name, its in took.items()
        if name != "direct"
    }


def measure(servers: dict[str, Server], args: argparse.Namespace) -> dict[str, dict[str, Figures]]:
    """Medians over the rounds, by server and kind of measurement."""
    rounds: dict[str, dict[str, list[Figures]]] = {name: {} for name in servers}
    for server in servers.values():  # warm
        loaded(server, stream=False, seconds=1, at_once=4)
        loaded(server, stream=True, seconds=1, at_once=4)
    for _ in range(args.rounds):
        for kind in KINDS:
            for name, server in servers.items():
                row = loaded(server, stream=kind == "stream", seconds=args.seconds, at_once=args.at_once)
                rounds[name].setdefault(kind, []).append(row)
            for name, row in delays(servers, stream=kind == "stream", slow=False).items():
                rounds[name].setdefault(f"{kind} alone", []).append(row)
        for name, row in delays(servers, stream=True, slow=True).items():
            rounds[name].setdefault("slow alone", []).append(row)
    return {
        name: {kind: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for kind, runs in by.items()}
        for name, by in rounds.items()
    }


def show(result: dict[str, dict[str, Figures]], args: argparse.Namespace) -> None:
    """Tables for people."""
    print(f"one worker each, {args.at_once} calls at once, medians of {args.rounds} rounds")
    print("our log is durable (SQLite, full); a stream has 8 pieces")
    print(f"{'server':<12}{'call':<8}{'cpu ms':>8}{'calls/s':>9}{'p50 ms':>8}{'p99 ms':>8}")
    for name, by in result.items():
        for kind in KINDS:
            r = by[kind]
            cpu = "" if name == "direct" else f"{r['cpu_ms']:.2f}"
            print(f"{name:<12}{kind:<8}{cpu:>8}{r['per_s']:>9.0f}{r['p50_ms']:>8.1f}{r['p99_ms']:>8.1f}")
    print("\none call at a time, later than the direct call by (ms, medians):")
    print(f"{'server':<12}{'whole answer':>14}{'first byte of a stream':>24}{f'with {FIRST_TOKEN_S * 1e3:.0f} ms to the first token':>34}")
    for name, by in result.items():
        if name != "direct":
            cells = by["whole alone"]["whole_ms"], by["stream alone"]["first_ms"], by["slow alone"]["first_ms"]
            print(f"{name:<12}{cells[0]:>14.2f}{cells[1]:>24.2f}{cells[2]:>34.2f}")
    if "litellm" in result:
        theirs, ours = result["litellm"], result["pointsman"]
        ratios = ", ".join(f"{theirs[kind]['cpu_ms'] / ours[kind]['cpu_ms']:.1f} times the CPU of a {kind} call" for kind in KINDS)
        print(f"\nLiteLLM takes {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--litellm", type=Path, help="virtual environment with litellm[proxy]")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for module in ("openai", "aiohttp"):
        try:
            __import__(module)
        except ImportError:
            raise SystemExit(f"{module} is needed: pip install 'pointsman[openai]'") from None
    if args.litellm is not None and not (args.litellm / "bin" / "litellm").exists():
        print(f"LiteLLM is left out: it is not installed in {args.litellm}")
        args.litellm = None
    folder = Path(tempfile.mkdtemp())
    try:
        keep_beside_upstream()
        with running(folder, args.litellm) as servers:
            result = measure(servers, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(result, args)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--serve-upstream":
        upstream(sys.argv[2])
    else:
        main()
