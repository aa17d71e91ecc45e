"""The database goes and comes back under a running service: what was acknowledged is there, nothing lies, nobody restarts anything."""

import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from router import bootstrap, parts
from router.domain.keys import Scope
from router.services.keys import KeyService
from router.storage import schema
from router.testing.postgres import PostgresServer
from tests.conftest import execute
from tests.keys.conftest import Clock, wanted
from tests.keys.conftest import service as key_service
from tests.replicas.test_replicas import Replica, agree, ready, replicas

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of its own: others share theirs with every test."""
    with PostgresServer(settings=("synchronous_commit=on",)) as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    name = f"log_{next(_numbers)}"
    execute(server, f"CREATE DATABASE {name}")
    schema.upgrade(server.url(name))
    return server.url(name)


async def answered(replica: Replica, path: str, body: object, **more: object) -> httpx.Response:
    answer = await replica.client.post(path, json=body, **more)  # type: ignore[arg-type]
    assert answer.status_code in (200, 503), answer.text
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return answer


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_strict_refuses_and_comes_back_by_itself(server, url, mode):
    async with replicas(url, 2) as (one, two):
        before = await one.decide()
        server.stop(mode)
        for replica in (one, two):
            assert (await answered(replica, "/v1/route", {"task_type": "x"})).status_code == 503
            assert (await answered(replica, "/v1/feedback", {"decision_id": before, "score": 1.0})).status_code == 503
            assert (await answered(replica, "/v1/outcomes", {"decision_id": before})).status_code == 503
            assert (await replica.client.get("/readyz")).status_code == 503
            assert (await replica.client.get(f"/v1/decisions/{before}")).status_code == 503
            assert (await replica.client.get("/healthz")).status_code == 200
        server.start()
        after = await two.decide()
        for decided in (before, after):
            scored = await answered(one, "/v1/feedback", {"decision_id": decided, "score": 1.0})
            assert (scored.status_code, scored.json()["repeated"]) == (200, False)
        seq, _ = await agree([one, two])
        assert seq >= 4


async def test_degraded_goes_on_and_says_what_it_did_not_log(server, url):
    async with replicas(url, 1, outage="degraded") as (one,):
        before = await one.decide()
        server.stop("immediate")
        told = (await answered(one, "/v1/route", {"task_type": "summarization"})).json()
        assert (told["logged"], told["decision_id"].startswith("unlogged_")) == (False, True)
        assert (await one.client.get("/readyz")).json()["status"] == "degraded"
        assert (await answered(one, "/v1/feedback", {"decision_id": before, "score": 1.0})).status_code == 503
        server.start()
        again = (await answered(one, "/v1/route", {"task_type": "summarization"})).json()
        assert again["logged"]
        await ready(one)
        for path, body in (
            ("/v1/feedback", {"score": 1.0}),
            ("/v1/feedback", {"preferred_over": again["decision_id"]}),
            ("/v1/outcomes", {"latency_s": 1.0}),
        ):
            refused = await one.client.post(path, json={"decision_id": told["decision_id"]} | body)
            assert (refused.status_code, refused.json()["error"]["type"]) == (409, "decision_unlogged")
        assert (await one.client.get(f"/v1/decisions/{told['decision_id']}")).status_code == 409
        await agree([one])
        assert one.services.store.counts()["decisions"] == 2


async def test_degraded_ends_after_its_time(server, url, monkeypatch):
    ticks = Clock(100.0)
    for module in (bootstrap, parts):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, monotonic=ticks))
    async with replicas(url, 1, outage="degraded", outage_max_s=60.0) as (one,):
        await one.decide()
        server.stop("fast")
        for passed, status in ((0.0, 200), (59.0, 200), (2.0, 503)):
            ticks.now += passed
            one.services.keys._read_at = ticks.now  # however long that took: it is the log's time that is looked at here
            answer = await answered(one, "/v1/route", {"task_type": "x"})
            assert answer.status_code == status
            assert answer.status_code == 503 or not answer.json()["logged"]
        server.start()
        assert (await answered(one, "/v1/route", {"task_type": "x"})).json()["logged"]


@pytest.mark.parametrize(("outage", "status"), [("strict", 503), ("degraded", 200)])
async def test_keys_are_never_refused_for_a_fault_of_the_database(server, url, outage, status):
    async with replicas(url, 1, outage=outage) as (one,):
        keys: KeyService = key_service(one.services.store)  # type: ignore[arg-type]
        _, token = await keys.create(wanted("app", Scope.ROUTE, Scope.FEEDBACK))
        one.services.keys._read_at = float("-inf")
        login = {"authorization": f"Bearer {token}"}
        assert (await answered(one, "/v1/route", {"task_type": "x"}, headers=login)).status_code == 200
        server.stop("immediate")
        one.services.keys._read_at -= 3.0  # as if they had been read a while ago
        for _ in range(3):
            assert (await answered(one, "/v1/route", {"task_type": "x"}, headers=login)).status_code == status
        server.start()
        assert (await answered(one, "/v1/route", {"task_type": "x"}, headers=login)).status_code == 200
