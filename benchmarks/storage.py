"""Durable decisions per second, beside the raw limit of the same database in the same run.

    python -m benchmarks.storage [--seconds 8] [--callers 64] [--folder DIR] [--json FILE] [--only sqlite|postgres]

Callers write one decision at a time and wait until it is durable (SQLite: WAL, ``synchronous=FULL``; PostgreSQL: ``fsync`` and
``synchronous_commit`` on). The raw limit is the driver alone: the same rows, ready-made, in groups of the same size with one commit each
and nothing else in the process. ``refold`` says how fast the log is folded again, ``partitions`` what a log of many partitions costs.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from router import bootstrap, config
from router.domain.decisions import Decision
from router.domain.ids import new_id
from router.domain.tasks import Task
from router.storage import codec, schema
from router.storage.raw import raw_commits, row_of
from router.storage.sql import SqlStore
from router.storage.writer import GroupCommitWriter
from router.testing.postgres import PostgresServer


async def typical() -> Decision:
    """A decision as the service takes it over the catalogue that ships."""
    services = await bootstrap.build(config.load(database_url="memory://"))
    await services.start()
    decided: Decision = services.routing.decide(Task(task_type="code_generation", context_tokens=1_800))  # type: ignore[attr-defined]
    await services.close()
    return replace(decided, alternatives=())


@contextmanager
def databases(folder: Path, only: str | None) -> Iterator[list[tuple[str, str]]]:
    """Both, empty, on the disk of a folder."""
    found = []
    if only != "postgres":
        found.append(("sqlite", f"sqlite:///{folder / 'log.db'}"))
    if only == "sqlite":
        yield found
        return
    with PostgresServer(durable=True, folder=folder) as server:
        yield [*found, ("postgres", server.url())]


async def written(url: str, decision: Decision, callers: int, seconds: float, max_group: int) -> dict[str, float]:
    """What ``callers`` get through the writer."""
    store = SqlStore(url, "full")
    groups: list[int] = []
    writer = GroupCommitWriter(store, max_group=max_group, on_commit=lambda group: groups.append(group.last - group.first + 1))
    await writer.start()
    waits: list[float] = []

    async def caller(until: float) -> None:
        while (begun := time.perf_counter()) < until:
            await writer.write(replace(decision, id=new_id("dec")))
            waits.append(time.perf_counter() - begun)

    until = time.perf_counter() + 1.0
    await asyncio.gather(*(caller(until) for _ in range(callers)))
    waits.clear()
    groups.clear()
    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(begun + seconds) for _ in range(callers)))
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    await writer.close()
    store.close()
    ordered = sorted(waits)
    return {
        "per_s": len(waits) / took,
        "p50_ms": 1e3 * statistics.median(ordered),
        "p99_ms": 1e3 * ordered[int(0.99 * len(ordered))],
        "rows_per_commit": statistics.fmean(groups),
        "cpu_us": 1e6 * used / len(waits),
    }


def raw(url: str, decision: Decision, group: int, seconds: float) -> float:
    """Rows per second of the driver alone, ``group`` rows to a commit; the rows are made before the clock starts."""
    made, spent = 0, 0.0
    until = time.perf_counter() + seconds
    with raw_commits(url, "full") as commit:
        while time.perf_counter() < until:
            rows = [row_of(made + i + 1, replace(decision, id=new_id("dec"))) for i in range(group)]
            begun = time.perf_counter()
            commit(rows)
            spent += time.perf_counter() - begun
            made += group
    return made / spent


def syncs_per_s(folder: Path, seconds: float = 1.0) -> float:
    """What the disk does: appended pages of 8 kB, made durable one after another."""
    page = os.urandom(8192)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        n, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            file.write(page)
            file.flush()
            os.fdatasync(file.fileno())
            n += 1
        return n / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where the databases lie (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    chosen = parser.parse_args()
    decision = asyncio.run(typical())
    size = len(str(codec.decision_row(1, decision)))
    report: dict[str, Any] = {"callers": chosen.callers, "bytes_of_a_row": size}
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-", dir=chosen.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        report["fdatasync_per_s"] = syncs_per_s(folder)
        pages = report["fdatasync_per_s"]
        print(f"{chosen.callers} callers, a decision of about {size} bytes; the disk makes {pages:,.0f} pages durable per second")
        with databases(folder, chosen.only) as found:
            for database, url in found:
                schema.upgrade(url)
                told = asyncio.run(written(url, decision, chosen.callers, chosen.seconds, 256))
                group = max(1, round(told["rows_per_commit"]))
                limit = raw(url, decision, group, min(chosen.seconds, 4.0))
                report[database] = told | {"raw_per_s": limit, "share_of_raw": told["per_s"] / limit}
                print(
                    f"  {database:9} {told['per_s']:8,.0f} durable/s   p50 {told['p50_ms']:5.1f} ms   p99 {told['p99_ms']:6.1f} ms"
                    f"   {told['rows_per_commit']:.0f} a commit   {told['cpu_us']:.0f} us CPU each"
                    f"   raw {limit:8,.0f}/s in groups of {group} ({told['per_s'] / limit:.0%})"
                )
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
