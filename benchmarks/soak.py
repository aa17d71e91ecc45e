"""Several services on one PostgreSQL under load and mischief: do they agree, is anything lost, how soon are they back?

    python -m benchmarks.soak agree|outage|kill|connections [--seconds N] [--replicas 4] [--folder DIR] [--json FILE]

agree        16 writers with delays and duplicates, one replica stopped for half of the time: digests, lag, catch-up, effects
outage       the server restarted five times and cut off for 5 s: lost rows, write gaps, what was answered meanwhile
kill         replicas killed at random, 30 times: lost and doubled rows
connections  500 requests per second over 4 replicas and 20 connections: errors, deadlocks, connections in use

Every scenario ends with a fold of the whole log in this process, whose digest must be that of every replica.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from learning.learner import Learner
from router import config
from router.domain.evidence import fold
from router.parts import routing_rules
from router.storage import schema
from router.storage.sql import SqlStore
from router.testing.postgres import PostgresServer, free_port

ROOT = Path(__file__).parents[1]
KILLS = 30
TYPES = ("code_generation", "summarization", "classification", "quick_qa", "math_reasoning")


class Proxy:
    """Between the services and the server; ``cut`` drops what is open and takes nothing new."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self, seconds: float) -> None:
        if self._server is None:
            raise AssertionError("start it first")
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(seconds)
        await self.start()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                self._open.add(back)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()
        self._open.discard(sink)


class Replica:
    """``pointsman serve`` in a process of its own, at an address that stays through its restarts."""

    def __init__(self, folder: Path, url: str, number: int, **settings: object) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"replica-{number}.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
        told = {f"POINTSMAN_{name.upper()}": str(value) for name, value in settings.items()}
        self._environment = own | told | {"PYTHONPATH": str(ROOT), "POINTSMAN_DATABASE_URL": url, "POINTSMAN_LOG_LEVEL": "warning"}
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "router.cli", "serve", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=self._environment)

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()


@dataclass
class Tally:
    """What the writers were told."""

    decisions: set[str] = field(default_factory=set)
    scores: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Feedback id and score by decision, once acknowledged."""
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    """When, and at which position of the log."""
    latencies: list[float] = field(default_factory=list)


@dataclass
class Field:
    """A server, its replicas and what was said to them."""

    server: PostgresServer
    url: str
    proxy: Proxy
    replicas: list[Replica]
    session: aiohttp.ClientSession
    token: str
    tally: Tally
    up: set[int]
    """Replicas that are asked."""

    async def ask(self, method: str, path: str, body: object = None, at: Replica | None = None) -> tuple[int, Any] | None:
        """Status and answer; None where nobody answered."""
        replica = at if at is not None else self.replicas[random.choice(sorted(self.up))]
        begun = time.perf_counter()
        try:
            async with self.session.request(
                method, replica.address + path, json=body, headers={"authorization": f"Bearer {self.token}"}
            ) as answer:
                told = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            self.tally.failures[type(exc).__name__] += 1
            return None
        if method == "POST":
            self.tally.statuses[answer.status] += 1
            self.tally.latencies.append(time.perf_counter() - begun)
            if answer.status == 200 and "seq" in told:
                self.tally.acknowledged.append((time.perf_counter(), told["seq"]))
        return answer.status, told


@asynccontextmanager
async def field_of(replicas: int, folder: Path, *, max_connections: int = 60, **settings: object) -> AsyncIterator[Field]:
    """Replicas that answer."""
    with PostgresServer(durable=True, folder=folder, settings=(f"max_connections={max_connections}",)) as server:
        schema.upgrade(server.url())
        proxy = Proxy(server.port)
        await proxy.start()
        url = server.url(port=proxy.port)
        keys = [sys.executable, "-m", "router.cli", "keys", "create", "soak", "--scope", "route", "--scope", "feedback", "--scope", "read"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "POINTSMAN_DATABASE_URL": server.url()}
        made = await asyncio.to_thread(subprocess.run, [*keys, "--json"], check=True, capture_output=True, env=environment, cwd=folder)
        token = _token(json.loads(made.stdout))
        running = [Replica(folder, url, n, **settings) for n in range(replicas)]
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            there = Field(server, server.url(), proxy, running, session, token, Tally(), set(range(replicas)))
            try:
                for replica in running:
                    replica.start()
                for replica in running:
                    await ready(there, replica)
                yield there
            finally:
                for replica in running:
                    replica.end()
                await proxy.close()


def _token(told: dict[str, Any]) -> str:
    found: str = next(value for value in told.values() if isinstance(value, str) and value.startswith("pm_") and len(value) > 20)
    return found


async def ready(there: Field, replica: Replica) -> float:
    """Seconds until it answers that it is."""
    begun = time.perf_counter()
    while True:
        if replica.process is not None and replica.process.poll() is not None:
            raise RuntimeError(f"a replica ended: see {replica._log.read_text()[-2000:]}")
        with suppress(aiohttp.ClientError, OSError):
            async with there.session.get(replica.address + "/readyz") as answer:
                if answer.status == 200:
                    return time.perf_counter() - begun
        await asyncio.sleep(0.05)


async def writer(there: Field, n: int, over: Callable[[], bool], pause_s: float) -> None:
    """Decide, then report and score in random order, late, some twice, each wherever; unanswered scores are sent again."""
    rng = random.Random(n)
    while not over():
        told = await there.ask("POST", "/v1/route", {"task_type": rng.choice(TYPES), "context_tokens": rng.randrange(50, 90_000)})
        if told is None or told[0] != 200 or not told[1]["logged"]:
            await asyncio.sleep(0.05)
            continue
        decision = told[1]["decision_id"]
        there.tally.decisions.add(decision)
        score = {"decision_id": decision, "judge": "soak", "score": round(rng.random(), 3)}
        outcome = {"decision_id": decision, "latency_s": round(rng.random() + 0.1, 3), "output_tokens": rng.randrange(1, 900)}
        posts = [("/v1/outcomes", outcome), ("/v1/feedback", score)]
        posts += [("/v1/feedback", score)] * (rng.random() < 0.3)
        rng.shuffle(posts)
        for path, body in posts:
            await asyncio.sleep(rng.expovariate(1 / pause_s))
            while (answer := await there.ask("POST", path, body)) is None or answer[0] == 503:  # noqa: ASYNC110 - it is asked again
                await asyncio.sleep(0.05)
            if path == "/v1/feedback" and answer[0] == 200:
                there.tally.scores[decision] = (answer[1]["feedback_id"], body["score"])  # type: ignore[assignment]


async def watch(there: Field, seen: dict[int, set[str]], reached: list[list[tuple[float, int]]], until: Callable[[], bool]) -> None:
    """What each replica says of itself, many times a second."""

    async def one(n: int) -> None:
        while not until():
            if n in there.up:
                told = await there.ask("GET", "/readyz", at=there.replicas[n])
                if told is not None and told[0] == 200:
                    seen.setdefault(told[1]["seq"], set()).add(told[1]["digest"])
                    reached[n].append((time.perf_counter(), told[1]["seq"]))
            await asyncio.sleep(0.04)

    await asyncio.gather(*(one(n) for n in range(len(there.replicas))))


def lags(acknowledged: list[tuple[float, int]], reached: list[tuple[float, int]], skip: tuple[float, float]) -> list[float]:
    """From each acknowledgement to the moment when a replica said that it had folded it; the look itself included."""
    found, places = [], iter(sorted(reached))
    now = next(places, None)
    for at, seq in sorted(acknowledged, key=lambda item: item[1]):
        while now is not None and now[1] < seq:
            now = next(places, None)
        if now is None:
            break
        if not skip[0] <= at <= skip[1]:
            found.append(max(0.0, now[0] - at))
    return found


async def settled(there: Field) -> dict[str, Any]:
    """Wait until every replica has the whole log, and compare them with a fold in this process."""
    store = SqlStore(there.url)
    head = store.last_seq()
    stands = []
    for replica in there.replicas:
        while True:
            told = await there.ask("GET", "/readyz", at=replica)
            if told is not None and told[0] == 200 and told[1]["seq"] >= head:
                stands.append((told[1]["seq"], told[1]["digest"]))
                break
            await asyncio.sleep(0.05)
    settings = config.load(database_url=there.url)
    learner = Learner(routing_rules(settings).half_life_records, trusted=settings.trusted)
    while True:
        events, upto = store.read_evidence(learner.seq, 5_000)
        for event in events:
            fold(learner, event)
        if upto == learner.seq:
            break
        learner.advance(upto)
    store.close()
    return {"records": head, "digests_equal": {*stands} == {(head, learner.digest())}}


def truth(there: Field) -> dict[str, Any]:
    """What the log holds of what was acknowledged."""
    with psycopg.connect(there.url.replace("+psycopg", "")) as connection:
        logged = {row[0] for row in connection.execute("SELECT id FROM decisions")}
        scored = connection.execute(
            "SELECT d.id, f.feedback_id, f.score, f.revision FROM feedback f JOIN decisions d ON d.seq = f.decision_seq"
        ).fetchall()
        (twice,) = connection.execute("SELECT count(*) - count(DISTINCT id) FROM decisions").fetchone() or (0,)
        (gaps,) = connection.execute(
            "SELECT (SELECT seq FROM log_head) - (SELECT count(*) FROM (SELECT seq FROM decisions UNION SELECT seq FROM outcomes"
            " UNION SELECT seq FROM feedback UNION SELECT seq FROM attempts UNION SELECT seq FROM cost_changes"
            " UNION SELECT seq FROM arrivals WHERE seq > 0 UNION SELECT seq FROM regimes) x)"
        ).fetchone() or (0,)
        (deadlocks,) = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone() or (0,)
    told = there.tally
    kept = {decision: (feedback, score) for decision, feedback, score, _ in scored}
    return {
        "decisions": len(told.decisions),
        "scores": len(told.scores),
        "lost_decisions": len(told.decisions - logged),
        "lost_scores": sum(kept.get(decision) != given for decision, given in told.scores.items()),
        "doubled": twice + len(scored) - len(kept),
        "gaps": gaps,
        "deadlocks": deadlocks,
        "statuses": dict(told.statuses),
        "unanswered": dict(told.failures),
    }


async def agree(there: Field, seconds: float) -> dict[str, Any]:
    """One replica is stopped from a quarter to three quarters of the time, at most for 30 s."""
    begun = time.perf_counter()
    stopped = min(30.0, seconds / 2)
    seen: dict[int, set[str]] = {}
    reached: list[list[tuple[float, int]]] = [[] for _ in there.replicas]
    done = False
    watching = asyncio.create_task(watch(there, seen, reached, lambda: done))
    writing = [asyncio.create_task(writer(there, n, lambda: time.perf_counter() > begun + seconds, 0.08)) for n in range(16)]
    await asyncio.sleep(seconds / 4)
    there.up.discard(0)
    await asyncio.sleep(0.5)  # what it was asked is answered
    paused = time.perf_counter()
    there.replicas[0].signal(signal.SIGSTOP)
    await asyncio.sleep(stopped)
    there.replicas[0].signal(signal.SIGCONT)
    resumed, head = time.perf_counter(), max(seq for _, seq in there.tally.acknowledged)
    while True:
        told = await there.ask("GET", "/readyz", at=there.replicas[0])
        if told is not None and told[0] == 200 and told[1]["seq"] >= head:
            break
        await asyncio.sleep(0.01)
    caught_up = time.perf_counter() - resumed
    there.up.add(0)
    await asyncio.gather(*writing)
    end = await settled(there)
    done = True
    await watching
    spared = (paused - 1, resumed + 3)  # of the one that was stopped
    ordered = sorted(lag for n, own in enumerate(reached) for lag in lags(there.tally.acknowledged, own, (0, 0) if n else spared))
    return end | {
        "stopped_s": stopped,
        "catch_up_s": caught_up,
        "positions_compared": len(seen),
        "positions_that_differ": sum(len(digests) > 1 for digests in seen.values()),
        "lag_p50_ms": 1e3 * statistics.median(ordered),
        "lag_p99_ms": 1e3 * ordered[int(0.99 * len(ordered))],
        "writes_per_s": len(there.tally.acknowledged) / seconds,
    }


async def outage(there: Field, seconds: float) -> dict[str, Any]:
    """Five restarts, by turns in order and as a crash, and one cut of 5 s."""
    begun = time.perf_counter()
    writing = [asyncio.create_task(writer(there, n, lambda: time.perf_counter() > begun + seconds, 0.05)) for n in range(16)]
    gaps = []
    faults: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        (mode, lambda mode=mode: asyncio.to_thread(there.server.restart, mode))  # type: ignore[misc]
        for mode in ("fast", "immediate", "fast", "immediate", "fast")
    ]
    faults.append(("cut off for 5 s", lambda: there.proxy.cut(5.0)))
    for name, fault in faults:
        await asyncio.sleep(max(1.0, (seconds - 15) / 8))
        down = time.perf_counter()
        await fault()
        back = time.perf_counter()
        while not any(at > back for at, _ in there.tally.acknowledged[-50:]):  # noqa: ASYNC110 - a look is what is measured
            await asyncio.sleep(0.01)
        before = max((at for at, _ in there.tally.acknowledged if at <= down), default=down)
        after = min(at for at, _ in there.tally.acknowledged if at > back)
        inside = [at for at, _ in there.tally.acknowledged if down < at <= back]
        gap = max(later - earlier for earlier, later in itertools.pairwise([before, *inside, after]))
        gaps.append({"fault": name, "outage_s": round(back - down, 2), "gap_s": round(gap, 2), "beyond_s": round(after - back, 2)})
    await asyncio.gather(*writing)
    ended = sum(replica.process is None or replica.process.poll() is not None for replica in there.replicas)
    return await settled(there) | {"faults": gaps, "replicas_that_ended": ended}


async def kill(there: Field, seconds: float) -> dict[str, Any]:
    """Thirty kills, or as many as fit; the killed one comes back and is asked again as soon as it is ready."""
    begun = time.perf_counter()
    rng = random.Random(7)
    done = False
    writing = [asyncio.create_task(writer(there, n, lambda: done, 0.05)) for n in range(16)]
    kills = 0
    back: list[float] = []
    while kills < KILLS and time.perf_counter() - begun < seconds:
        n = rng.choice(sorted(there.up))
        there.replicas[n].end()
        there.up.discard(n)
        kills += 1

        async def revive(n: int = n) -> None:
            there.replicas[n].start()
            back.append(await ready(there, there.replicas[n]))
            there.up.add(n)

        reviving = asyncio.create_task(revive())
        await asyncio.sleep(rng.random())
        if len(there.up) < 2:
            await reviving
    done = True
    await asyncio.gather(*writing)
    while len(there.up) < len(there.replicas):  # noqa: ASYNC110 - they are processes
        await asyncio.sleep(0.1)
    return await settled(there) | {"kills": kills, "back_after_s": round(statistics.median(back), 2)}


async def connections(there: Field, seconds: float) -> dict[str, Any]:
    """A steady rate, whatever the answers take."""
    rate = 500
    begun = time.perf_counter()
    most = 0
    running: set[asyncio.Task[Any]] = set()
    decided: list[str] = []

    async def one(i: int) -> None:
        if i % 2 or not decided:
            told = await there.ask("POST", "/v1/route", {"task_type": TYPES[i % len(TYPES)], "context_tokens": 500})
            if told is not None and told[0] == 200:
                there.tally.decisions.add(told[1]["decision_id"])
                decided.append(told[1]["decision_id"])
        else:
            decision = decided.pop()
            score = round(random.random(), 3)
            told = await there.ask("POST", "/v1/feedback", {"decision_id": decision, "score": score})
            if told is not None and told[0] == 200:
                there.tally.scores[decision] = (told[1]["feedback_id"], score)

    with psycopg.connect(there.url.replace("+psycopg", ""), autocommit=True) as connection:
        for i in range(int(rate * seconds)):
            task = asyncio.create_task(one(i))
            running.add(task)
            task.add_done_callback(running.discard)
            if i % 250 == 0:
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pointsman'").fetchone()
                most = max(most, row[0] if row else 0)
            await asyncio.sleep(max(0.0, begun + (i + 1) / rate - time.perf_counter()))
        await asyncio.gather(*running)
    took = time.perf_counter() - begun
    ordered = sorted(there.tally.latencies)
    return await settled(there) | {
        "requests_per_s": len(ordered) / took,
        "p50_ms": 1e3 * statistics.median(ordered),
        "p99_ms": 1e3 * ordered[int(0.99 * len(ordered))],
        "most_connections": most,
    }


SCENARIOS: dict[str, tuple[Callable[[Field, float], Awaitable[dict[str, Any]]], float]] = {
    "agree": (agree, 60.0),
    "outage": (outage, 60.0),
    "kill": (kill, 600.0),
    "connections": (connections, 20.0),
}


async def run(name: str, seconds: float | None, replicas: int, folder: Path | None) -> dict[str, Any]:
    """One scenario."""
    scenario, usual = SCENARIOS[name]
    limits: dict[str, Any] = {"max_connections": 24} if name == "connections" else {}
    with tempfile.TemporaryDirectory(prefix="pointsman-soak-", dir=folder) as made:
        Path(made).chmod(0o755)  # noqa: ASYNC240 - before anything runs: the server may run as another user
        async with field_of(replicas, Path(made), **limits) as there:
            told = await scenario(there, usual if seconds is None else seconds)
            return {"scenario": name} | told | truth(there)


def main() -> None:
    """Run one and print what it showed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the server's data lies (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    report = asyncio.run(run(chosen.scenario, chosen.seconds, chosen.replicas, chosen.folder))
    for name, value in report.items():
        print(f"  {name:24} {value:.3f}" if isinstance(value, float) else f"  {name:24} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
