"""How long the dashboard takes to show a log of 100,000 decisions: each page over HTTP, and drawn in a browser.

    python -m benchmarks.dashboard [--decisions N] [--database FILE]

The log is made up (``router.testing.logs``), the service is a process of its own, started anew before the first view of each page; the
browser runs and has cached nothing.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.storage import schema
from router.storage.sql import SqlStore
from router.testing.logs import LogPlan, groups

LIMIT_S = 1.0
AGAIN = 5
MODELS = tuple(f"{provider}/model-{i}" for provider in ("acme", "borealis", "cirrus", "dune") for i in range(5))
TASK_TYPES = tuple(f"task_type_{i:02}" for i in range(22))
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def make_log(file: Path, decisions: int) -> str:
    url = f"sqlite:///{file}"
    if file.exists():
        return url
    schema.upgrade(url)
    store = SqlStore(url, "normal")
    plan = LogPlan(decisions, task_types=TASK_TYPES, models=MODELS, start=time.time() - decisions * 6, every_s=6.0, excluded=12)
    begun, records = time.perf_counter(), 0
    for group in groups(plan, 2_000):
        records += len(group)
        store.commit(group)
    took = time.perf_counter() - begun
    print(f"made {decisions:,} decisions, {records:,} records, {file.stat().st_size / 1e6:,.0f} MB in {took:.0f} s")
    begun = time.perf_counter()
    while store.count_on(10_000) < store.last_seq():
        pass
    took = time.perf_counter() - begun
    print(f"counted them in {took:.1f} s: {took / records * 1e6:.1f} us per record, which a running service does as they come")
    store.close()
    return url


def cpu_s(pid: int) -> float:
    """Processor time of a process so far; NaN where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(url: str, folder: Path) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    catalog = folder / "models.toml"
    facts = 'family = "made-up"\ncontext_window = 128000\nprice = { input = 0.5, output = 1.5 }\n'
    catalog.write_text("".join(f'[[models]]\nid = "{model}"\n{facts}' for model in MODELS))
    command = [sys.executable, "-m", "router.cli", "serve", "--port", str(port), "--database-url", url, "--catalog-file", str(catalog)]
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(1_200):
                try:
                    if b'"lag":0' in fetch(f"{address}/readyz")[1]:
                        break
                except OSError:
                    pass
                time.sleep(0.1)
            else:
                raise SystemExit(f"the service did not get ready: see {folder / 'service.log'}")
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(30)


def fetch(address: str) -> tuple[float, bytes]:
    begun = time.perf_counter()
    with urllib.request.urlopen(address, timeout=60) as answer:
        body = answer.read()
    return time.perf_counter() - begun, body


def pages(address: str) -> dict[str, str]:
    _, listed = fetch(f"{address}/v1/decisions?limit=1")
    decision_id = listed.split(b'"decision_id":"')[1].split(b'"')[0].decode()
    return {
        "overview": "/", "overview, 1 hour": "/?period=hour", "overview, all": "/?period=all", "preferences": "/preferences",
        "one task type": f"/preferences?task_type={TASK_TYPES[0]}", "decisions": "/decisions",
        "decisions, filtered": f"/decisions?task_type={TASK_TYPES[3]}&model={MODELS[7].replace('/', '%2F')}&until=2100-01-01T00:00",
        "a decision": f"/decisions/{decision_id}", "what if": "/what-if",
        "incidents": "/incidents", "judges": "/judges", "budgets": "/budgets",
    }  # fmt: skip


@contextmanager
def browser() -> Iterator[Any]:
    """A fresh page in Chromium; None where there is no browser."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        yield None
        return
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


def drawn(page: Any, address: str) -> float:
    """Seconds until the page is loaded and every chart in it is drawn."""
    begun = time.perf_counter()
    page.goto(address, wait_until="load")
    page.locator("canvas[data-chart]:not([data-drawn])").first.wait_for(state="detached")
    return time.perf_counter() - begun


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--decisions", type=int, default=100_000)
    options.add_argument("--database", type=Path, help="SQLite file to make and keep, or to use if it is there")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name, browser() as chromium:
        folder = Path(name)
        url = make_log(chosen.database or folder / "log.db", chosen.decisions)
        with serving(url, folder) as (address, _):
            paths = pages(address)
        slowest = 0.0
        print(f"{'page':22} {'first':>9} {'of it CPU':>9} {'again':>9} {'kB':>6}   {'drawn first':>12} {'drawn again':>12}")
        for title, path in paths.items():
            with serving(url, folder) as (address, pid):
                before = cpu_s(pid)
                first, body = fetch(address + path)
                worked = cpu_s(pid) - before
                again = statistics.median(fetch(address + path)[0] for _ in range(AGAIN))
            shown = shown_again = float("nan")
            if chromium is not None:
                with serving(url, folder) as (address, _):
                    page = chromium.new_context().new_page()  # nothing cached, nobody signed in
                    page.goto(f"{address}/healthz")  # the browser's own start is not the page's
                    shown = drawn(page, address + path)
                    shown_again = statistics.median(drawn(page, address + path) for _ in range(AGAIN))
                    page.context.close()
            slowest = max(slowest, first, shown if chromium is not None else 0.0)
            times = f"{first * 1e3:6.0f} ms {worked * 1e3:6.0f} ms {again * 1e3:6.0f} ms {len(body) / 1e3:6.0f}"
            print(f"{title:22} {times}   {shown * 1e3:9.0f} ms {shown_again * 1e3:9.0f} ms", flush=True)
    print(f"slowest first view: {slowest:.2f} s (limit {LIMIT_S:.0f} s)")
    return 0 if slowest <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
