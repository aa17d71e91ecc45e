"""Several services on one PostgreSQL: what one learns or changes, all know, and they agree to the last bit."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from learning.features import SCHEMA_VERSION
from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services
from router.testing.postgres import PostgresServer

PATIENCE_S = 60.0


class Replica:
    def __init__(self, client: httpx.AsyncClient, services: Services) -> None:
        self.client, self.services = client, services

    async def ready(self) -> dict[str, object]:
        found: dict[str, object] = (await self.client.get("/readyz")).json()
        return found

    async def decide(self, **body: object) -> str:
        answer = await self.client.post("/v1/route", json={"task_type": "summarization"} | body)
        assert answer.status_code == 200, answer.text
        decided: str = answer.json()["decision_id"]
        return decided


@asynccontextmanager
async def replicas(url: str, n: int, **settings: object) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(n):
            services = await bootstrap.build(config.load(database_url=url, **settings))
            app = create_app(services)
            await stack.enter_async_context(app.router.lifespan_context(app))
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)
            made.append(Replica(await stack.enter_async_context(client), services))
        yield made


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def ready(replica: Replica) -> None:
    """Wait until a replica says that it is: a part that met the outage is known to be well once it has taken its step again."""
    deadline = time.monotonic() + PATIENCE_S
    while (told := await replica.ready())["status"] != "ready":
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.05)


async def agree(made: list[Replica]) -> tuple[int, str]:
    """Wait until all have folded the whole log, and return where they stand: the same for each."""
    for replica in made:
        await replica.services.training.settle()  # type: ignore[attr-defined]
    stand = {(r.services.training.seq, r.services.training.digest) for r in made}
    assert len(stand) == 1, stand
    return stand.pop()


async def test_replicas_agree_whoever_writes_and_feedback_counts_once(postgres_url):
    rng = random.Random(5)
    async with replicas(postgres_url, 3) as made:

        async def client(n: int) -> int:
            scores = 0
            for _ in range(12):
                decided = await rng.choice(made).decide(context_tokens=rng.randrange(100, 90_000))
                outcome = {"decision_id": decided, "latency_s": rng.random() + 0.1, "output_tokens": rng.randrange(1, 900)}
                score = {"decision_id": decided, "judge": f"judge-{n}", "score": rng.random()}
                await asyncio.sleep(rng.random() / 50)
                posts = [("/v1/outcomes", outcome), ("/v1/feedback", score), ("/v1/feedback", score)]
                rng.shuffle(posts)
                answers = await asyncio.gather(*(rng.choice(made).client.post(path, json=body) for path, body in posts))
                assert [a.status_code for a in answers] == [200, 200, 200]
                told = [a.json() for a, (path, _) in zip(answers, posts, strict=True) if path == "/v1/feedback"]
                assert told[0]["feedback_id"] == told[1]["feedback_id"]
                assert [t["repeated"] for t in told].count(True) == 1
                scores += 1
            return scores

        scores = sum(await asyncio.gather(*(client(n) for n in range(4))))
        seq, _ = await agree(made)
        counts = made[0].services.store.counts()
        assert counts["feedback"] == counts["decisions"] == counts["outcomes"] == scores == 48
        assert seq == 1 + 3 * 48  # one regime, and a decision, its outcome and its score for each
        assert [(await r.ready())["lag"] for r in made] == [0, 0, 0]


async def test_a_change_of_the_catalogue_reaches_every_replica(postgres_url):
    async with replicas(postgres_url, 2) as (one, two):
        await one.client.post("/v1/models", json={"id": "acme/new", "context_window": 9_000})
        await until(lambda: "acme/new" in two.services.models.catalog, "the other replica knows the model")
        await two.decide(constraints={"models": ["acme/new"]})
        assert (await two.client.post("/v1/models", json={"id": "acme/new", "context_window": 9_000})).status_code == 409
        await two.client.delete("/v1/models/acme/new")
        await until(lambda: one.services.models.catalog.get("acme/new").retired, "and its end")
        seq, digest = await agree([one, two])
        assert one.services.models.catalog.version == two.services.models.catalog.version
    async with replicas(postgres_url, 1) as (fresh,):
        assert await agree([fresh]) == (seq, digest)


async def test_a_newcomer_is_one_wherever_and_whenever_the_log_is_folded(postgres_url):
    async with replicas(postgres_url, 2) as (one, two):
        for _ in range(3):
            ids = await asyncio.gather(*(one.decide(constraints={"models": ["openai/gpt-4o"]}) for _ in range(70)))
            body = [{"decision_id": i, "score": 1.0} for i in ids]
            assert (await two.client.post("/v1/feedback", json=body)).status_code == 200
        await one.client.post("/v1/models", json={"id": "acme/new", "context_window": 9_000})
        await one.decide(constraints={"models": ["acme/new"]})
        stand = await agree([one, two])
        eager = [r.services.training.posterior.eager[r.services.training.posterior.model_index["acme/new"]].max() for r in (one, two)]
        assert eager == [1.0, 1.0]
        seen = one.services.store
        assert seen.latest_snapshot(SCHEMA_VERSION) is None
    async with replicas(postgres_url, 1) as (fresh,):
        assert await agree([fresh]) == stand
        posterior = fresh.services.training.posterior
        assert posterior.eager[posterior.model_index["acme/new"]].max() == 1.0
        assert posterior.eager[posterior.model_index["openai/gpt-4o"]].max() == 0.0


async def test_one_of_them_keeps_the_snapshots_and_another_takes_over(postgres_url):
    async with replicas(postgres_url, 2) as made:
        sharing = [r.services.leads for r in made]
        await until(lambda: sum(leads() for leads in sharing) == 1, "one leads")
    async with replicas(postgres_url, 1) as (fresh,):
        await until(fresh.services.leads, "and then another")
        await fresh.decide()
    async with replicas(postgres_url, 1) as (again,):
        assert again.services.training.seq == 2


async def test_a_server_that_crashed_and_lost_what_it_had_not_promised(make_lossy: PostgresServer):
    """Under ``normal`` a crash of the server may take back what was folded; the services then fold anew what is left."""
    async with replicas(make_lossy.url(), 1, durability="normal") as (one,):
        await one.decide()
        await one.services.training.settle()  # type: ignore[attr-defined]
        one.services.training._learner.advance(50)  # type: ignore[attr-defined]  # as if it had folded what the crash took
        make_lossy.restart("immediate")
        await until(lambda: one.services.training.seq <= 2, "it goes back to what the log holds")
        await one.decide()
        await agree([one])


@pytest.fixture
def make_lossy():
    from router.storage import schema

    with PostgresServer(settings=("synchronous_commit=on",)) as server:
        schema.upgrade(server.url())
        yield server
