"""Without keys only this machine's names are answered: a page whose name was pointed here reads nothing."""

import httpx
import pytest

from router.domain.hosts import names_loopback
from router.domain.keys import Scope
from tests.api.conftest import Rig
from tests.keys.conftest import wanted

LOCAL = [
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "pointsman.localhost:80",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.8.9.10",
    "[::1]",
    "[::1]:8080",
    "::1",
]
FOREIGN = [
    "evil.test",
    "evil.test:8080",
    "localhost.evil.test",
    "notlocalhost",
    "127.0.0.1.evil.test",
    "10.0.0.1:8080",
    "[2001:db8::1]:80",
    "[::1",
    "[::1]x",
    "",
    "0.0.0.0",
]
ADDRESSES = [
    ("POST", "/v1/route"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/decisions"),
    ("DELETE", "/v1/models/acme/small"),
]


@pytest.mark.parametrize("host", LOCAL)
def test_names_of_this_machine(host: str) -> None:
    assert names_loopback(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_names_of_others(host: str) -> None:
    assert not names_loopback(host)


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_a_foreign_name_is_refused_while_there_are_no_keys(rig: Rig, method: str, path: str) -> None:
    answer = await rig.client.request(method, path, json={"task_type": "summarization"}, headers={"host": "evil.test:8080"})
    told = answer.json()["error"]
    assert answer.status_code == 403
    assert "127.0.0.1" in str(told)
    assert "keys create" in str(told)
    assert rig.store.last_seq() == 0


async def test_the_dashboard_refuses_it_too(rig: Rig) -> None:
    for path in ("/", "/decisions", "/dashboard/pulse"):
        answer = await rig.client.get(path, headers={"host": "evil.test"})
        assert answer.status_code == 403, path
        assert "own machine" in answer.text


async def test_with_keys_any_name_will_do(rig: Rig) -> None:
    _, token = await rig.services.keys.create(wanted("reader", Scope.ROUTE))
    headers = {"host": "router.example.test", "authorization": f"Bearer {token}"}
    answer = await rig.client.post("/v1/route", json={"task_type": "summarization"}, headers=headers)
    assert answer.status_code == 200


async def test_who_names_no_host_is_no_browser(rig: Rig) -> None:
    request = httpx.Request("POST", "http://localhost/v1/route", json={"task_type": "summarization"})
    del request.headers["host"]
    assert (await rig.client.send(request)).status_code == 200
