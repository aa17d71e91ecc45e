"""How fast a log is folded again, and how soon a service is ready over a long one.

    python -m benchmarks.refold [--records 1000000] [--models 30] [--types 20] [--prove 60000] [--database URL] [--folder DIR] [--json FILE]

Makes a log of decisions with outcome and score over models that ship, one of which gets worse half-way. Folds it from its start
(reading included), with a proof that this gives the bytes of a fold event by event; keeps the snapshot; and starts ``pointsman serve``
over it: the time from the start of the process to ``/readyz``. Few models and types (``--models 4 --types 3``) give the detectors most
to do: they look at every value of a cell that has evidence enough.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from learning import state
from learning.features import SCHEMA_VERSION
from learning.learner import Learner
from router import bootstrap, config
from router.bench.fold import fill
from router.bench.fold import fold as fold_all
from router.domain.events import Snapshot
from router.domain.evidence import fold
from router.domain.offers import facts_of
from router.domain.refold import fold_on
from router.parts import routing_rules
from router.ports import Store
from router.storage import schema
from router.storage.sql import SqlStore
from router.testing.postgres import free_port

ROOT = Path(__file__).parents[1]
PAGE = 2_000


async def begun(settings: config.Settings) -> None:
    """A log begins with what decisions are taken by: a service that starts and ends writes it."""
    services = await bootstrap.build(settings)
    await services.start()
    await services.close()


def refold(store: Store, learner: Learner, trusted: Sequence[str]) -> dict[str, float]:
    """Events per second from the log's start to its end, as a service folds them; positions without evidence count too."""
    made = fold_all(store, learner, trusted)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "events": float(made.records), "seconds": made.seconds, "per_s": made.per_s, "cpu_s": made.cpu_s,
        "per_cpu_s": made.records / made.cpu_s, "incidents": float(made.incidents), "peak_mb": peak_mb,
    }  # fmt: skip


def one_by_one(store: Store, learner: Learner, upto: int) -> float:
    """Fold event by event, as a running service does; events per second."""
    begun = time.perf_counter()
    while learner.seq < upto:
        events, reached = store.read_evidence(learner.seq, min(PAGE, upto - learner.seq))
        for event in events:
            fold(learner, event)
        learner.advance(reached)
    return upto / (time.perf_counter() - begun)


def prove(store: Store, new: Callable[[], Learner], trusted: Sequence[str], upto: int) -> dict[str, float]:
    """That the fold at once, one that goes on from a snapshot in the middle, and the fold event by event give the same bytes."""
    single, whole, first = new(), new(), new()
    per_s = one_by_one(store, single, upto)
    fold_on(store, whole, upto, trusted)
    fold_on(store, first, upto // 2, trusted)
    regime = store.regime_at(upto // 2)
    later = state.load(state.save(first), facts_of(regime.models if regime is not None else ()))
    fold_on(store, later, upto, trusted)
    told = {(learner.digest(), state.save(learner)) for learner in (single, whole, later)}
    if len(told) != 1:
        raise SystemExit(f"the folds of {upto} events differ: {sorted(digest for digest, _ in told)}")
    return {"events": float(upto), "one_by_one_per_s": per_s}


def ready_after(url: str, folder: Path) -> tuple[float, float]:
    """Seconds from the start of the process until it is ready, and of CPU time that it took (Linux)."""
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POINTSMAN_DATABASE_URL": url, "POINTSMAN_LOG_LEVEL": "warning"}
    begun = time.perf_counter()
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "router.cli", "serve", "--port", str(port)], stdout=log, stderr=log, env=environment, cwd=folder
        )
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if json.load(answer)["lag"] == 0:
                    used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                    return time.perf_counter() - begun, sum(map(int, used)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.01)
        raise RuntimeError((folder / "service.log").read_text()[-2000:])
    finally:
        process.terminate()
        process.wait()


def told_of(figures: dict[str, float]) -> str:
    """On one line."""
    return "  ".join(f"{key} {value:,.2f}" for key, value in figures.items())


def main() -> None:
    """Measure and print."""
    from benchmarks.storage import typical

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", help="an empty database (default: SQLite in a temporary folder)")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--types", type=int, default=20)
    parser.add_argument("--prove", type=int, default=60_000, help="events that are folded event by event too, to compare (default 60,000)")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    decision = asyncio.run(typical())
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pointsman-refold-", dir=chosen.folder) as name:
        folder = Path(name)
        url = chosen.database or f"sqlite:///{folder / 'log.db'}"
        schema.upgrade(url)
        settings = config.load(database_url=url)
        asyncio.run(begun(settings))
        store = SqlStore(url, "normal")
        report["written_per_s"] = chosen.records / fill(store, decision, chosen.records, decision.eligible[: chosen.models], chosen.types)
        if chosen.database is None:
            report["bytes_per_record"] = sum(file.stat().st_size for file in folder.glob("log.db*")) / store.last_seq()
        print(f"  written {store.last_seq():,} records at {report['written_per_s']:,.0f}/s", flush=True)

        def new() -> Learner:
            return Learner(routing_rules(settings).half_life_records, trusted=settings.trusted)

        report["proof"] = prove(store, new, settings.trusted, min(chosen.prove, store.last_seq()))
        print("  the same bytes at once, from a snapshot and event by event:", told_of(report["proof"]), flush=True)
        learner = new()
        report["refold"] = refold(store, learner, settings.trusted)
        print("  refold ", told_of(report["refold"]), flush=True)
        store.save_snapshot(Snapshot(learner.seq, SCHEMA_VERSION, learner.digest(), state.save(learner), time.time()))
        store.close()
        bare = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import router.bootstrap, router.api.app, uvicorn"], check=True, cwd=ROOT)
        report["imports_s"] = time.perf_counter() - bare
        report["ready_after_s"] = sorted(ready_after(url, folder) for _ in range(3))
        told = ", ".join(f"{wall:.2f} s ({cpu:.2f} s of CPU)" for wall, cpu in report["ready_after_s"])
        print(f"  ready   after {told}; an interpreter that only imports the service: {report['imports_s']:.2f} s")
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
