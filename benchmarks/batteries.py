"""Every battery that ships, end to end against local stand-ins of the providers: ``python -m benchmarks.batteries [--out FOLDER]``.

The stand-ins speak each provider's wire format; their models are scripted with a known quality per task type. Each battery's process is
killed half-way and started again. Shown: nobody was called twice, irrelevant pairs were skipped, the intervals cover the scripted
qualities, the guide ranks the models as scripted, and what the batteries do to the first decisions of the router.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import mean
from tempfile import mkdtemp

from router import telemetry
from router.batteries.files import load, shipped
from router.domain.battery import Battery, Section
from router.testing import Pupil, Pupils, Stub

_BEST, _WORST = 0.96, 0.24
_CLEAR_GAP = 0.3
"""Two models that differ by so much must come in the right order."""
_FIRST = 100
_ADDRESSES = {"google": "gemini", "cerebras": "cerebras", "deepinfra": "deepinfra", "replicate": "replicate"}
_KEYS = dict.fromkeys(("GEMINI_API_KEY", "CEREBRAS_API_KEY", "DEEPINFRA_API_KEY", "REPLICATE_API_TOKEN"), "any")


@dataclass(slots=True)
class Killed:
    """One battery, killed and resumed."""

    name: str
    calls: int
    twice: int
    skipped: int
    unknown: int
    killed_at: int
    seconds: float


def truth(batteries: list[Battery]) -> dict[str, dict[str, float]]:
    """Scripted quality by task type and model: evenly spread, in an order that is drawn anew for each task type."""
    played: dict[str, set[str]] = {}
    for battery in batteries:
        for section in battery.sections:
            played.setdefault(section.task_type, set()).update(battery.models)
    found = {}
    for task_type, models in played.items():
        order = sorted(models, key=lambda model: blake2b(f"{task_type}|{model}".encode(), digest_size=8).digest())
        step = (_BEST - _WORST) / (len(order) - 1)
        found[task_type] = {model: _BEST - i * step for i, model in enumerate(order)}
    return found


def pupils(qualities: dict[str, dict[str, float]], sections: tuple[Section, ...]) -> Pupils:
    """The scripted models; the better ones of each are the slower ones."""
    models = {model for by_model in qualities.values() for model in by_model}
    speed = {model: 2_000 + 6_000 * blake2b(model.encode(), digest_size=1).digest()[0] / 255 for model in models}
    made = {m: Pupil({t: q[m] for t, q in qualities.items() if m in q}, tokens_per_s=speed[m], first_token_s=0.004) for m in models}
    return Pupils(made, sections, seed=11)


def play(name: str, stub: Stub, environ: dict[str, str]) -> Killed:
    """Run a battery, kill it half-way, and run it again."""
    battery = load(name)
    stub.requests.clear()
    command = [sys.executable, "-m", "router.cli", "battery", "run", name, "--json", "--allow-unpriced", "--max-usd", "5"]
    plan = json.loads(subprocess.run([*command, "--dry-run"], env=environ, capture_output=True, text=True, check=True).stdout)["prepared"]
    begun = time.monotonic()
    first = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _called(stub) < plan["calls_left"] // 2 and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed_at = _called(stub)
    told = json.loads(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)
    seconds = time.monotonic() - begun
    sent = [(r.model, r.messages[-1]) for r in stub.requests if r.method == "POST"]
    asked = Counter((model, message.text, tuple(image.url for image in message.images)) for model, message in sent)
    cells = told["report"]["cells"]
    answered, unknown = sum(cell["answered"] for cell in cells), sum(cell["unknown"] for cell in cells)
    assert told["prepared"]["resumed"], "the second process did not go on"
    assert answered + unknown == plan["calls_left"], (answered, unknown, plan["calls_left"])
    assert told["report"]["run"]["status"] == "done"
    assert battery.digest == told["report"]["run"]["digest"]
    twice = sum(n - 1 for n in asked.values())
    return Killed(name, plan["calls_left"], twice, len(plan["skipped"]), unknown, killed_at, seconds)


def _called(stub: Stub) -> int:
    return sum(r.method == "POST" for r in stub.requests)


async def first_decisions(url: str, qualities: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean scripted quality of the first decisions by task type, as the service draws them among the scripted models."""
    import httpx

    from router import bootstrap, config
    from router.api.app import create_app

    weights = {"quality": 1.0, "cost": 0.0, "latency": 0.0}
    app = create_app(await bootstrap.build(config.load(database_url=url, salt="a salt for the benchmark", log_level="error")))
    found = {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pointsman.test") as client,
    ):
        for task_type, by_model in qualities.items():
            body = {"task_type": task_type, "context_tokens": 300, "weights": weights, "constraints": {"models": sorted(by_model)}}
            if task_type == "multimodal":
                body["modalities"] = ["text", "image"]
            chosen = [(await client.post("/v1/route", json=body)).json()["model"] for _ in range(_FIRST)]
            found[task_type] = mean(by_model[model] for model in chosen)
    return found


def check(guide: dict[str, object], qualities: dict[str, dict[str, float]]) -> dict[str, object]:
    """How the guide stands beside the script."""
    covered = cells = right = pairs = 0
    tops = []
    for task in guide["task_types"]:  # type: ignore[attr-defined]
        measured = [c for c in task["cells"] if c["state"] == "measured"]
        true = qualities[task["task_type"]]
        for cell in measured:
            cells += 1
            covered += cell["quality"]["low"] <= true[cell["model"]] <= cell["quality"]["high"]
        for a in measured:
            for b in measured:
                if true[a["model"]] - true[b["model"]] >= _CLEAR_GAP:
                    pairs += 1
                    right += a["quality"]["mean"] > b["quality"]["mean"]
        best = max(true[c["model"]] for c in measured)
        tops.append((task["task_type"], task["best_quality"], best - true[task["best_quality"]]))
    return {"cells": cells, "covered": covered, "pairs": pairs, "in_order": right, "best": tops}


def main() -> None:
    """Play all batteries and print what was found; exits with 1 where something that must hold does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="where the database and the guide go; a new folder by default")
    parser.add_argument("--only", nargs="+", default=None, help="names of batteries")
    given = parser.parse_args()
    out = (given.out or Path(mkdtemp(prefix="pointsman-batteries-"))).resolve()
    out.mkdir(parents=True, exist_ok=True)
    names = given.only or list(shipped())
    batteries = [load(name) for name in names]
    qualities = truth(batteries)
    url = f"sqlite:///{out / 'log.db'}"
    with Stub() as stub:
        stub.player = pupils(qualities, tuple(section for battery in batteries for section in battery.sections))
        addresses = {provider: stub.base_url(kind) for provider, kind in _ADDRESSES.items()}
        environ = os.environ | _KEYS | {
            "POINTSMAN_DATABASE_URL": url,
            "POINTSMAN_PROVIDER_URLS": json.dumps(addresses),
            "POINTSMAN_PROVIDERS": ",".join(addresses),
        }  # fmt: skip
        played = []
        for name in names:
            played.append(play(name, stub, environ))
            one = played[-1]
            print(
                f"{one.name}: {one.calls} calls in {one.seconds:.0f} s, killed after {one.killed_at}, {one.unknown} unknown,"
                f" {one.twice} made twice, {one.skipped} pairs skipped",
                flush=True,
            )
        written = str(out / "MODEL_SELECTION_GUIDE.md")
        subprocess.run([sys.executable, "-m", "router.cli", "guide", "--out", written], env=environ, check=True)
    found = check(json.loads((out / "MODEL_SELECTION_GUIDE.json").read_text()), qualities)
    print(f"\n{found['covered']} of {found['cells']} intervals (90 %) cover the scripted quality")
    print(f"{found['in_order']} of {found['pairs']} pairs that differ by {_CLEAR_GAP} or more come in the scripted order")
    for task_type, model, behind in found["best"]:  # type: ignore[attr-defined]
        print(f"  {task_type}: best measured {model}, {behind:.3f} below the scripted best")
    telemetry.configure("error")
    cold = asyncio.run(first_decisions("memory://", qualities))
    warm = asyncio.run(first_decisions(url, qualities))
    print(f"\nscripted quality of the first {_FIRST} decisions, without and with the batteries before:")
    for task_type in qualities:
        best = max(qualities[task_type].values())
        print(f"  {task_type}: {cold[task_type]:.3f} -> {warm[task_type]:.3f} of {best:.3f}")
    lost = [mean(max(qualities[t].values()) - by_task[t] for t in qualities) for by_task in (cold, warm)]
    print(f"mean regret {lost[0]:.3f} -> {lost[1]:.3f}; all of it in {out}")
    holds = not sum(one.twice for one in played) and found["covered"] >= 0.85 * found["cells"] and found["in_order"] == found["pairs"]
    sys.exit(0 if holds and lost[1] <= lost[0] / 2 else 1)


if __name__ == "__main__":
    main()
