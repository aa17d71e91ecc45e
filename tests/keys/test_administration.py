"""Keys are made and revoked over HTTP: nobody locks himself out unawares, and whoever came without a key makes none once there is one."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import config
from router.domain.keys import ApiKey, Scope
from router.errors import KeyMissing
from router.services.keys import MAX_AGE_S
from router.storage.memory import MemoryStore
from tests.api.conftest import Rig
from tests.keys.conftest import Clock, service, wanted
from tests.running import running

ADMIN = frozenset({Scope.ADMIN})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def kept(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def made(client: httpx.AsyncClient, by: str | None = None, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/keys", json=body, headers={} if by is None else bearer(by))
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


async def test_the_first_key_can_make_others_and_takes_effect_at_once(rig: Rig) -> None:
    client = rig.client
    assert (await client.get("/v1/keys")).json() == {"keys": []}
    refused = (await client.post("/v1/keys", json={"name": "app", "scopes": ["chat"]})).json()["error"]
    assert (refused["field"], "pointsman keys create" in refused["remedy"]) == ("scopes", True)
    assert rig.store.keys() == []
    first = await made(client, name="operator", scopes=["admin", "read"])
    assert (await client.get("/v1/keys")).status_code == 401
    assert (await client.post("/v1/keys", json={"name": "thief", "scopes": ["admin"]})).status_code == 401
    limits = {"expires": "90d", "rate": "600/min", "budget_usd": "50/day"}
    app = await made(client, first["key"], name="app", scopes=["chat", "route"], **limits)
    assert app["expires_at"] - app["created_at"] == pytest.approx(90 * 86_400, abs=60)
    assert app["rate"] == {"count": 600, "period_s": 60}
    assert app["budget"] == {"usd": 50.0, "period": "day"}
    assert (await client.post("/v1/route", json={"task_type": "x"}, headers=bearer(app["key"]))).status_code == 200
    for call in (client.get("/v1/keys", headers=bearer(app["key"])), client.delete(f"/v1/keys/{app['id']}", headers=bearer(app["key"]))):
        assert (await call).status_code == 403
    taken = await client.post("/v1/keys", json={"name": "app", "scopes": ["read"]}, headers=bearer(first["key"]))
    assert (taken.status_code, taken.json()["error"]["field"]) == (409, "name")
    listed = await client.get("/v1/keys", headers=bearer(first["key"]))
    shown = await client.get(f"/v1/keys/{app['id']}", headers=bearer(first["key"]))
    assert shown.json() == {name: value for name, value in app.items() if name != "key"}
    assert [key["name"] for key in listed.json()["keys"]] == ["operator", "app"]
    for key in await rig.services.keys.known():
        assert key.digest not in listed.text + shown.text
    assert app["key"] not in listed.text + shown.text
    revoked = await client.delete(f"/v1/keys/{app['id']}", headers=bearer(first["key"]))
    assert revoked.json()["revoked_at"] is not None
    assert (await client.post("/v1/route", json={"task_type": "x"}, headers=bearer(app["key"]))).status_code == 401
    assert (await client.delete(f"/v1/keys/{app['id']}", headers=bearer(first["key"]))).json() == revoked.json()
    assert (await client.delete("/v1/keys/app", headers=bearer(first["key"]))).status_code == 404, "names may come again: ids do not"


async def test_the_last_key_that_can_make_others_is_not_revoked_over_http(rig: Rig) -> None:
    client = rig.client
    first = await made(client, name="one", scopes=["admin"])
    kept = await client.delete(f"/v1/keys/{first['id']}", headers=bearer(first["key"]))
    assert (kept.status_code, kept.json()["error"]["field"]) == (422, "key_id")
    second = await made(client, first["key"], name="two", scopes=["admin"])
    assert (await client.delete(f"/v1/keys/{first['id']}", headers=bearer(first["key"]))).status_code == 200, "one may revoke oneself"
    assert (await client.get("/v1/keys", headers=bearer(first["key"]))).status_code == 401
    assert (await client.delete(f"/v1/keys/{second['id']}", headers=bearer(second["key"]))).status_code == 422


async def test_an_administrator_reads_what_he_administers(rig: Rig) -> None:
    first = await made(rig.client, name="one", scopes=["admin"])
    for path in ("/v1/keys", f"/v1/keys/{first['id']}", "/v1/models", "/v1/models/acme/small"):
        assert (await rig.client.get(path, headers=bearer(first["key"]))).status_code == 200, path


async def test_a_key_outlives_the_service_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url=f"sqlite:///{tmp_path}/k.db", durability="normal")
    async with running(settings) as (client, _):
        first = await made(client, name="operator", scopes=["admin"])
    secret = first["key"].encode()[len(first["prefix"]) :]
    assert secret not in kept(tmp_path)
    async with running(settings) as (client, _):
        assert (await client.get("/v1/keys")).status_code == 401
        (key,) = (await client.get("/v1/keys", headers=bearer(first["key"]))).json()["keys"]
        assert key["id"] == first["id"]


async def test_another_service_knows_within_two_seconds_and_lets_nobody_without_a_key_change_keys_meanwhile(store: MemoryStore) -> None:
    ticks = Clock(100.0)
    here, there = service(store), service(store, monotonic=ticks)
    assert await there.admit(None, ADMIN) is None
    operator, token = await here.create_for(None, wanted("operator"))
    assert await there.admit(None, ADMIN) is None, "it has not looked again yet"
    for change in (there.create_for(None, wanted("thief")), there.revoke_for(None, operator.id), there.revoke_for(None, "key_none")):
        with pytest.raises(KeyMissing):
            await change
    assert [(key.name, key.revoked_at) for key in await here.known()] == [("operator", None)]
    ticks.now += MAX_AGE_S + 0.01
    with pytest.raises(KeyMissing):
        await there.admit(None, ADMIN)
    assert await there.admit(token, ADMIN) == operator.id
    app, other = await here.create_for(operator.id, wanted("app", Scope.ADMIN))
    ticks.now += MAX_AGE_S + 0.01
    assert await there.admit(other, ADMIN) == app.id
    await here.revoke_for(operator.id, app.id)
    ticks.now += MAX_AGE_S + 0.01
    with pytest.raises(KeyMissing):
        await there.admit(other, ADMIN)


async def test_of_those_who_make_the_first_key_at_once_one_does(store: MemoryStore) -> None:
    keys = service(store)
    told = await asyncio.gather(*(keys.create_for(None, wanted(f"k{i}")) for i in range(5)), return_exceptions=True)
    assert sum(isinstance(one, tuple) for one in told) == len(store.keys()) == 1
    assert sum(isinstance(one, KeyMissing) for one in told) == 4


class Halting(MemoryStore):
    """The first read of the keys ends when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go = threading.Event(), threading.Event()

    def keys(self) -> list[ApiKey]:
        found = super().keys()
        if not self.reading.is_set():
            self.reading.set()
            self.go.wait(30)
        return found


async def test_a_key_works_at_once_also_where_the_keys_were_being_read_when_it_was_made() -> None:
    store = Halting()
    keys = service(store)
    looking = asyncio.create_task(keys.admit(None, ADMIN))
    await asyncio.to_thread(store.reading.wait, 30)
    making = asyncio.create_task(keys.create_for(None, wanted("operator")))
    while not store.keys():  # noqa: ASYNC110 - a store has no event for this
        await asyncio.sleep(0.01)
    store.go.set()
    made, token = await making
    assert await looking is None
    assert await keys.admit(token, ADMIN) == made.id
    with pytest.raises(KeyMissing):
        await keys.admit(None, ADMIN)
